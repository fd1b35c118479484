/** Command lines that do not hold: the code, what is said and how it is mended, each of its own program. */
import t from 'tap'
import { minim, Place } from './program.js'

t.test('command lines that do not hold', async (t) => {
  const place = new Place(t)
  const file = place.write('cdr.jsonl', '{}\n')
  const rows: readonly (readonly [args: readonly string[], code: number, says: RegExp])[] = [
    [['frobnicate'], 2, /MINIM_COMMAND_LINE: minim:[^]*"frobnicate": is no command; use one of: demo, run/],
    [
      ['quarantine', 'lst'],
      2,
      /MINIM_COMMAND_LINE: minim quarantine:[^]*"lst": is no command; did you mean list\?\n[^]*→ /,
    ],
    [['run'], 2, /MINIM_COMMAND_LINE: minim run:[^]*--config: is missing; add --config <file>/],
    [
      ['run', '--confg', 'x.yaml'],
      2,
      /MINIM_COMMAND_LINE[^]*--confg: is no option of minim run; did you mean --config\?/,
    ],
    [
      ['agent', '--cofnig=x.yaml'],
      2,
      /MINIM_COMMAND_LINE[^]*--cofnig: is no option of minim agent; did you mean --config\?/,
    ],
    [['tail'], 2, /MINIM_COMMAND_LINE[^]*purpose: is missing; write minim tail \[options\] <purpose>/],
    [
      ['tail', 'billing', '--brokrs=b.example:9092'],
      2,
      /MINIM_COMMAND_LINE[^]*--brokrs: is no option of minim tail; did you mean --brokers\?/,
    ],
    [['tail', 'billing', '--brokers'], 2, /MINIM_COMMAND_LINE[^]*--brokers: has no value; write --brokers <list>/],
    [['tail', 'billing', 'service'], 2, /MINIM_COMMAND_LINE[^]*arguments: there are too many; write minim tail/],
    [
      ['tail', 'biling', '--brokers', '127.0.0.1:1'],
      2,
      /MINIM_COMMAND_LINE: minim tail:[^]*"biling": is no purpose and no kind that it sees; did you mean billing/,
    ],
    [['schema', 'biling'], 2, /MINIM_COMMAND_LINE: minim schema:[^]*"biling"/],
    [['explain', 'callng'], 2, /MINIM_COMMAND_LINE: minim explain:[^]*"callng": is no field[^]*did you mean calling/],
    [
      ['tail', 'billing', '--config', place.settings()],
      2,
      /--brokers: is missing: the settings say embedded: true.*line "ready"/,
    ],
    [
      ['quarantine', 'list', '--config', place.settings()],
      2,
      /--brokers: is missing: the settings say embedded: true.*line "ready"/,
    ],
    [
      ['tail', 'billing', '--brokers', '127.0.0.1:1'],
      3,
      /MINIM_KAFKA_UNREACHABLE: 127\.0\.0\.1:1: no broker answers \([^)]+\)\n/,
    ],
    [
      ['quarantine', 'list', '--brokers', '127.0.0.1:1'],
      3,
      /MINIM_KAFKA_UNREACHABLE: 127\.0\.0\.1:1: no broker answers \([^)]+\)\n/,
    ],
    [['demo', '--seconds', 'x'], 2, /MINIM_COMMAND_LINE[^]*--seconds: is not understood; write a number of seconds/],
    [
      ['tail', 'billing', '--limit', 'abc'],
      2,
      /MINIM_COMMAND_LINE[^]*--limit: is not understood; write a whole number above 0/,
    ],
    [['quarantine', 'list', '--reason', 'bad_valu'], 2, /did you mean bad_value or bad_utf8/],
    [['quarantine', 'drop', '--before', '2026-02-30', '--yes'], 2, /write it as 2026-11-24/],
    [['quarantine', 'drop', '--before', '2026-02-28'], 2, /--yes/],
    [
      ['quarantine', 'replay', '--map', 'minim', '--time-zone', 'Mars/North'],
      2,
      /MINIM_COMMAND_LINE[^]*--time-zone: is no time zone[^]*--map: needs to be told/,
    ],
    [
      ['load', file, '--format', 'xls', '--kind', 'cal', '--tenant', 'nobody'],
      2,
      /--format: is unknown[^]*--kind: is unknown; did you mean call\?[^]*--tenant: is unknown/,
    ],
    [
      ['load', file, '--format', 'jsonl', '--map', 'asterisk-cdrs'],
      2,
      /--map: is no mapping; did you mean asterisk-cdr\?/,
    ],
  ]
  for (const [args, wanted, says] of rows) {
    const { code, stderr, stdout } = await minim(t, args, place)
    t.equal(code, wanted, args.join(' '))
    t.match(stderr, says, args.join(' '))
    t.equal(stdout, '', args.join(' '))
  }
  for (const args of [['--help'], ['tail', '--help'], ['help', 'tail'], ['--version']])
    t.match(await minim(t, args, place), { code: 0, stdout: /minim|^\d/, stderr: /^$/ }, args.join(' '))
})
