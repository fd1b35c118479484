/**
 * Calls that the PBX made by itself (`Originate`, call files, click-to-call) through a `Local/` channel. Such a channel
 * is a pair: `;1` began everything and stands for what the call is put through to once it is answered, so it has the
 * dialplan's extension (`talk`) and NO ANSWER whatever happened; `;2` has dialled, so it knows the number and what came
 * of it.
 *
 * Both halves' records are one call. It is told from `;2`, except where `;1` has dialled a number itself: what was rung
 * first (an agent) had answered by then, and the call is the one to that number. A pair that another channel has made
 * (a member of a queue or of a ring group, FollowMe) is none: its caller's record tells it.
 */
import { type CdrRow, pickRows, type Span } from './calls.js'
import { type Channels, localHalf } from './channels.js'

/** One call, and what ended it as far as is known of its halves: Q.850, 0 for nothing. */
export interface OriginatedCall {
  readonly row: CdrRow
  readonly cause: number
}

/** A cause that says that nothing was wrong: of a call that was not answered it says nothing. */
const NORMAL_CLEARING = 16

/** The unique id of the half that began everything; null: another channel has made the pair. */
export function beginning(pair: string, rows: readonly CdrRow[], channels: Channels): string | null {
  for (const row of rows) {
    const linkedId = row.linkedId || (channels.get(row.channel)?.linkedId ?? '')
    if (localHalf(row.channel)?.half === 1) {
      if (linkedId === row.uniqueId || (linkedId === '' && !row.isOutgoingLeg)) return row.uniqueId
    } else if (linkedId !== '') {
      // The record of `;1` may be missing (`unanswered = no` of cdr.conf): other events have named it, or the ids say so.
      const first = channels.get(`${pair};1`)?.uniqueId ?? ''
      if (first === linkedId || (first === '' && isNextId(linkedId, row.uniqueId))) return linkedId
    }
  }
  return null
}

/** Both halves of a pair are made in one go, so their ids are neighbours: `1795526400.30` and `1795526400.31`. */
function isNextId(id: string, next: string): boolean {
  const [before, after] = [/^(.*\.)(\d{1,15})$/.exec(id), /^(.*\.)(\d{1,15})$/.exec(next)]
  return before !== null && after !== null && before[1] === after[1] && Number(after[2]) - Number(before[2]) === 1
}

/**
 * The calls that the records of a pair tell.
 * @param began unique id of the half that began everything
 * @param taken conversations that were taken before; those taken now are added
 * @param causeOf what ended the channel of an id
 */
export function pickOriginated(
  pair: string,
  rows: readonly CdrRow[],
  began: string,
  taken: Span[],
  channels: Channels,
  causeOf: (uniqueId: string) => number,
): OriginatedCall[] {
  const near = rows.filter((row) => localHalf(row.channel)?.half === 1)
  const far = rows.filter((row) => localHalf(row.channel)?.half === 2)
  const putThrough = near.filter((row) => row.destinationChannel !== '' && isDialled(row.destination))
  const answered = near.filter((row) => row.disposition === 'ANSWERED' && row.billableSeconds > 0)
  const told =
    putThrough.length > 0
      ? putThrough
      : far.length === 0 || (answered.length > 0 && !far.some((row) => row.disposition === 'ANSWERED'))
        ? near
        : far
  return pickRows(told, taken).map((row) => {
    const other = (told === far ? near : far).at(0)
    const called = told === putThrough ? row.destination : numberOf(pair, far.at(0) ?? row, row)
    const causes = [causeOf(row.uniqueId), channels.get(row.destinationChannel)?.cause ?? 0, causeOf(began)]
    if (told !== far) causes.push(...far.map(({ uniqueId }) => causeOf(uniqueId)))
    return {
      row: {
        ...row,
        uniqueId: began,
        linkedId: row.linkedId || began,
        callId: row.callId || (other?.callId ?? ''),
        fields: {
          ...row.fields,
          account: row.fields.account || other?.fields.account,
          calling: row.fields.calling || other?.fields.calling,
          calling_name: row.fields.calling_name || other?.fields.calling_name,
          called,
        },
      },
      cause: likeliest(causes, row.disposition === 'ANSWERED'),
    }
  })
}

/**
 * The number that was dialled: what the far half dialled, else what the pair is named by, else what the dial string
 * holds; a dialplan's extension (`s`, `talk`) is none, and stands only where nothing better is known.
 */
function numberOf(pair: string, far: CdrRow, told: CdrRow): string {
  const named = /^Local\/([^@/]+)@/.exec(pair)?.[1] ?? ''
  const dialString = /^[A-Za-z0-9]+\/(?:[^,&@/]*\/)?(?:sips?:)?([+*#]?[0-9][0-9*#]*)(?:[@,&:;/].*)?$/.exec(far.lastData)
  const candidates = [far.destination, named, far.lastApplication === 'Dial' ? (dialString?.[1] ?? '') : '']
  return candidates.find(isDialled) ?? (far.destination || told.destination)
}

function isDialled(text: string): boolean {
  return /^[+*#]?[0-9][0-9*#]*$/.test(text)
}

function likeliest(causes: readonly number[], answered: boolean): number {
  const known = causes.filter((cause) => cause > 0)
  return (answered ? undefined : known.find((cause) => cause !== NORMAL_CLEARING)) ?? known.at(0) ?? 0
}
