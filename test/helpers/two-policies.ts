/**
 * Policies that can be told apart by every record that they make: `a` shows how a call ended in words, `b` by its
 * number, and `b` has a purpose more. Each record keeps its own number, so that each can be found again. JSON is YAML.
 */
const terms = {
  notice: 'P2',
  description: 'Bill for calls',
  purpose: 'https://w3id.org/dpv#PaymentManagement',
  basis: { term: 'eu-gdpr:A6-1-b', evidence: 'customer contract' },
  recipients: ['billing'],
  region: 'UK',
  transfer: 'adequacy',
  retention_days: 90,
  epoch: 'month',
}

/** The field that holds a record's own number. */
export const NUMBER = 'duration_seconds'

const calls = (topic: string, more: object): object => ({
  topic,
  format: 'json',
  fields: { account: 'token', start_ms: { 'time-bucket': { ms: 1000 } }, [NUMBER]: 'keep', ...more },
})

/** @param note makes it another policy under the same rules */
export function policyText(which: 'a' | 'b', note = ''): string {
  const more = which === 'a' ? { disposition: 'keep' } : { hangup_cause: 'keep' }
  const purposes = {
    billing: { ...terms, call: calls('pbx.billing.call', more) },
    ...(which === 'b' ? { audit: { ...terms, call: calls('pbx.audit.call', { hangup_cause: 'keep' }) } } : {}),
  }
  return `${JSON.stringify({ purposes }, null, 2)}\n# ${note}\n`
}

/** What is wrong with a record of billing's, by the policy that its tag names. */
export function wrongBy(record: Readonly<Record<string, unknown>>, versions: { a: string; b: string }): string | null {
  const { policy } = record['tag'] as { policy: string }
  const shows = [record['disposition'] === undefined ? '' : 'a', record['hangup_cause'] === undefined ? '' : 'b'].join(
    '',
  )
  if (policy !== versions.a && policy !== versions.b) return `policy ${policy}`
  const should = policy === versions.a ? 'a' : 'b'
  return shows === should ? null : `shows what ${shows} shows, and its tag says ${should}`
}
