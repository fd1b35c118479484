/** The page of metrics over several processes, which comes whatever one of them does. The processes are real. */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WorkerPages } from '../../src/app/worker-pages.js'

t.setTimeout(60_000)

/** How long a worker may take here, ms. */
const ANSWER_MS = 1_500

cluster.setupPrimary({ exec: fileURLToPath(new URL('./page-worker.js', import.meta.url)), args: [] })

async function worker(t: Test, kind: 'answers' | 'starts'): Promise<Worker> {
  const started = cluster.fork({ PAGE_WORKER: kind })
  t.teardown(() => started.process.kill('SIGKILL'))
  await once(started, 'online')
  return started
}

interface Seen {
  readonly page: string
  readonly ms: number
}

async function look(pages: WorkerPages): Promise<Seen> {
  const begunAt = performance.now()
  return { page: await pages.metrics(), ms: performance.now() - begunAt }
}

/** Two workers that answer. */
async function two(t: Test, places = 2): Promise<{ pages: WorkerPages; workers: readonly Worker[] }> {
  const pages = new WorkerPages(places, ANSWER_MS)
  const workers = await Promise.all([worker(t, 'answers'), worker(t, 'answers')])
  await Promise.all(
    workers.map((one, i) => {
      pages.add(i, one)
      one.once('exit', () => {
        pages.remove(i, one)
      })
      return once(one, 'message')
    }),
  )
  return { pages, workers }
}

t.test('all workers are added up, and it is ready when all are', async (t) => {
  const { pages } = await two(t)
  const { page } = await look(pages)
  t.match(page, /^taken_total\{by="all"\} 20$/m)
  t.match(page, /^minim_ready 1$/m)
  t.equal(page.match(/^# TYPE minim_ready /gm)?.length, 1)
})

t.test('a worker that has not begun to listen, or is not there, delays nothing', async (t) => {
  const { pages } = await two(t, 4)
  pages.add(2, await worker(t, 'starts'))
  const { page, ms } = await look(pages)
  t.match(page, /^taken_total\{by="all"\} 20$/m)
  t.match(page, /^minim_ready 0$/m)
  t.ok(ms < ANSWER_MS, `${ms} ms`)
})

t.test('one that hangs is waited for in bounded time, and its counters do not seem to go back', async (t) => {
  const { pages, workers } = await two(t)
  await look(pages)
  workers[1].process.kill('SIGSTOP')
  const both = await Promise.all([look(pages), look(pages)])
  for (const { page, ms } of both) {
    t.match(page, /^taken_total\{by="all"\} 20$/m)
    t.match(page, /^minim_ready 0$/m)
    t.ok(ms < ANSWER_MS + 1000, `${ms} ms`)
  }
  workers[1].process.kill('SIGCONT')
  t.match((await look(pages)).page, /^minim_ready 1$/m, 'once it answers again')
})

t.test('one that is killed while it is asked ends the wait', async (t) => {
  const { pages, workers } = await two(t)
  workers[0].process.kill('SIGSTOP')
  const looked = look(pages)
  workers[0].process.kill('SIGKILL')
  const { page, ms } = await looked
  t.match(page, /^taken_total\{by="all"\} 10$/m)
  t.match(page, /^minim_ready 0$/m)
  t.ok(ms < ANSWER_MS, `${ms} ms`)
})

t.test('with no worker at all there is a page as well', async (t) => {
  t.equal((await look(new WorkerPages(3))).page.trim().split('\n').at(-1), 'minim_ready 0')
})
