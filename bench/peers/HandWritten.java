// What a Java developer would write by hand: Jackson, javax.crypto.Mac, kafka-clients; idempotent, lz4, one send for each purpose.
// Usage: HandWritten FILE BROKERS TOPIC-PREFIX. Last line: {"records":N,"produced":N,"seconds":s}
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class HandWritten {
  static final ObjectMapper JSON = new ObjectMapper();
  static final int[] DURATIONS = {3600, 900, 300, 60, 30, 0};

  static final class Purpose {
    final String name;
    final String topic;
    final Mac mac;
    final ObjectNode tag;

    Purpose(String name, String prefix) throws Exception {
      this.name = name;
      topic = prefix + "." + name;
      Mac derive = hmac("benchmark master key".getBytes(StandardCharsets.UTF_8));
      mac = hmac(derive.doFinal(name.getBytes(StandardCharsets.UTF_8)));
      tag = JSON.createObjectNode().put("purpose", name).put("basis", "eu-gdpr:A6-1-b").put("policy", "0123456789ab")
          .put("epoch", name.equals("billing") ? "2026" : "2026-11").put("region", "UK").put("retention_days", 30).put("transfer", "adequacy");
    }

    static Mac hmac(byte[] key) throws Exception {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return mac;
    }

    String token(String value) {
      byte[] digest = mac.doFinal(value.getBytes(StandardCharsets.UTF_8));
      return Base64.getUrlEncoder().withoutPadding().encodeToString(Arrays.copyOf(digest, 16));
    }
  }

  /** Dial string to E.164; extensions and 'anonymous' as they are. */
  static String e164(String number) {
    if (number.startsWith("+")) return number;
    if (number.startsWith("00")) return "+" + number.substring(2);
    if (number.startsWith("0")) return "+44" + number.substring(1);
    return number;
  }

  static int bucket(int seconds) {
    for (int bound : DURATIONS) if (seconds >= bound) return bound;
    return 0;
  }

  static long addFields(Purpose purpose, JsonNode call, ObjectNode out) {
    long start = call.get("start_ms").longValue();
    switch (purpose.name) {
      case "billing" -> {
        start -= start % 1000;
        out.put("direction", call.get("direction").textValue()).put("start_ms", start)
            .put("billable_seconds", call.get("billable_seconds").intValue())
            .put("disposition", call.get("disposition").textValue()).put("trunk", call.get("trunk").textValue());
      }
      case "quality" -> {
        start -= start % 60_000;
        out.put("start_ms", start).put("duration_seconds", call.get("duration_seconds").intValue())
            .put("disposition", call.get("disposition").textValue()).put("hangup_cause", call.get("hangup_cause").intValue())
            .put("codec", call.get("codec").textValue());
      }
      default -> {
        start -= start % 3_600_000;
        out.put("direction", call.get("direction").textValue()).put("start_ms", start)
            .put("duration_seconds", bucket(call.get("duration_seconds").intValue()))
            .put("disposition", call.get("disposition").textValue());
      }
    }
    return start;
  }

  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[1]);
    settings.put("acks", "all");
    settings.put("enable.idempotence", "true");
    settings.put("compression.type", "lz4");
    settings.put("linger.ms", "5");
    settings.put("batch.size", "131072");
    settings.put("buffer.memory", "67108864");
    List<Purpose> purposes = List.of(new Purpose("billing", args[2]), new Purpose("quality", args[2]), new Purpose("analytics", args[2]));
    AtomicReference<Exception> failure = new AtomicReference<>();
    long records = 0;
    long produced = 0;
    double seconds;
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        BufferedReader lines = Files.newBufferedReader(Path.of(args[0]))) {
      for (Purpose purpose : purposes) producer.partitionsFor(purpose.topic);
      long started = System.nanoTime();
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode call = JSON.readTree(line);
        String calling = e164(call.get("calling").textValue());
        String called = e164(call.get("called").textValue());
        for (Purpose purpose : purposes) {
          String account = purpose.token(call.get("account").textValue());
          ObjectNode out = JSON.createObjectNode().put("account", account)
              .put("call_id", purpose.token(call.get("call_id").textValue()))
              .put("calling", purpose.token(calling)).put("called", purpose.token(called))
              .put("source_ip", purpose.token(call.get("source_ip").textValue()));
          long timestamp = addFields(purpose, call, out);
          out.set("tag", purpose.tag);
          producer.send(new ProducerRecord<>(purpose.topic, null, timestamp, account.getBytes(StandardCharsets.UTF_8), JSON.writeValueAsBytes(out)),
              (metadata, error) -> { if (error != null) failure.compareAndSet(null, error); });
          produced++;
        }
        records++;
      }
      producer.flush();
      seconds = (System.nanoTime() - started) / 1e9;
    }
    if (failure.get() != null) throw failure.get();
    System.out.println("{\"records\":" + records + ",\"produced\":" + produced + ",\"seconds\":" + seconds + "}");
  }
}
