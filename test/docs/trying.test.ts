/** `docs/trying.md`: a policy is tried, tested and compared as the page says. */
import t from 'tap'
import { walk } from './page.js'

t.test('from the first block to the last', { timeout: 110_000 }, async (t) => {
  await walk(t, 'trying.md')
})
