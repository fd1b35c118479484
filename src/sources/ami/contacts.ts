/**
 * What devices are registered: `ContactStatus` says that something changed, `ContactList` and `ContactStatusDetail`
 * (the answers to `PJSIPShowContacts` and to `PJSIPShowEndpoint`) say what the device is, `PeerStatus` is the same for
 * chan_sip and chan_iax2.
 *
 * A change has no User-Agent: it is completed from the list that was asked for before. Of a list only what is new, has
 * changed or was not reported for a while becomes a record.
 */
import type { RecordFields } from '../../formats/record-writer.js'
import type { Stanza } from './stanzas.js'
import { parseAddress, parseNumber } from './times.js'

/** Contacts remembered. */
const MAX_CONTACTS = 20_000

const EVENTS: Readonly<Record<string, string>> = {
  reachable: 'REACHABLE',
  lagged: 'REACHABLE',
  unreachable: 'UNREACHABLE',
  created: 'REGISTERED',
  registered: 'REGISTERED',
  updated: 'REFRESHED',
  removed: 'UNREGISTERED',
  unregistered: 'UNREGISTERED',
  rejected: 'REJECTED',
}

interface Known {
  readonly userAgent: string
  readonly via: string
  readonly status: string
  readonly reportedAt: number
}

export class Contacts {
  /** By the contact's URI. */
  readonly #known = new Map<string, Known>()

  /** @param repeatMs after which a contact that has not changed is reported again */
  constructor(readonly repeatMs: number) {}

  /** A line of a list. null: nothing new. */
  listed(stanza: Stanza, nowMs: number, atMs: number): RecordFields | null {
    const uri = stanza.get('uri')
    if (uri === '') return null
    const status = stanza.get('status').toLowerCase()
    const via = stanza.get('viaaddress') || stanza.get('viaaddr')
    const userAgent = stanza.get('useragent')
    const known = this.#known.get(uri)
    if (known?.userAgent === userAgent && known.status === status && nowMs - known.reportedAt < this.repeatMs)
      return null
    this.#remember(uri, { userAgent, via, status, reportedAt: nowMs })
    // When the registration ends, s since 1970.
    const expiresAt = parseNumber(stanza.get('regexpire') || stanza.get('expirationtime'))
    return this.#fields(
      stanza.get('aor') || stanza.get('endpointname') || stanza.get('endpoint'),
      uri,
      via,
      userAgent,
      status,
      atMs,
      expiresAt > 0 ? Math.max(0, expiresAt - nowMs / 1000) : null,
    )
  }

  /** A change. `unknown`: the contact is not known yet: a list should be asked for. */
  changed(
    stanza: Stanza,
    nowMs: number,
    atMs: number,
  ): { readonly fields: RecordFields; readonly unknown: boolean } | null {
    const uri = stanza.get('uri')
    const status = stanza.get('contactstatus').toLowerCase()
    const aor = stanza.get('aor') || stanza.get('endpointname')
    if (uri === '' && aor === '') return null
    const known = this.#known.get(uri)
    if (status === 'removed') this.#known.delete(uri)
    else if (known !== undefined) this.#remember(uri, { ...known, status, reportedAt: nowMs })
    return {
      fields: this.#fields(aor, uri, known?.via ?? '', known?.userAgent ?? '', status, atMs, null),
      unknown: known === undefined && status !== 'removed',
    }
  }

  /** Of chan_sip and chan_iax2. null: of PJSIP, whose contacts say more, or of no peer. */
  peer(stanza: Stanza, atMs: number): RecordFields | null {
    const peer = stanza.get('peer')
    const type = stanza.get('channeltype').toUpperCase()
    if (peer === '' || type === 'PJSIP' || peer.startsWith('PJSIP/')) return null
    const address = parseAddress(stanza.get('address'))
    const port = Number.isNaN(address.port) ? parseNumber(stanza.get('port')) : address.port
    return {
      party: peer.slice(peer.indexOf('/') + 1),
      start_ms: atMs,
      contact_ip: address.ip,
      contact_port: address.ip === '' ? null : port,
      event: eventOf(stanza.get('peerstatus')),
      origin: 'REGISTRATION',
    }
  }

  #fields(
    party: string,
    uri: string,
    via: string,
    userAgent: string,
    status: string,
    atMs: number,
    expires: number | null,
  ): RecordFields {
    const contact = addressOfUri(uri)
    const address = contact.ip !== '' ? contact : parseAddress(via)
    return {
      party,
      start_ms: atMs,
      user_agent: userAgent,
      contact_ip: address.ip,
      contact_port: address.ip === '' ? null : address.port,
      event: eventOf(status),
      expires_seconds: expires,
      origin: 'REGISTRATION',
    }
  }

  #remember(uri: string, known: Known): void {
    this.#known.delete(uri)
    if (this.#known.size >= MAX_CONTACTS) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest)
        break
      }
    }
    this.#known.set(uri, known)
  }
}

function eventOf(status: string): string | null {
  const name = status.toLowerCase()
  return Object.hasOwn(EVENTS, name) ? EVENTS[name] : null
}

/** Address and port of a SIP URI whose host is an address. */
function addressOfUri(uri: string): { readonly ip: string; readonly port: number } {
  const found = /^<?sips?:(?:[^@]*@)?([^;?>]+)/i.exec(uri)
  return parseAddress(found?.[1] ?? '')
}
