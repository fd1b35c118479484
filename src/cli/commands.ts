/** The subcommands, by what one wants to do. Each is a file of its own, loaded when it is asked for. */
import type { Command } from 'commander'

interface Registered {
  register(program: Command): void
}

/** A question about the policy need not wait for Kafka's and gRPC's clients. */
const COMMANDS: Readonly<Record<string, Readonly<Record<string, () => Promise<Registered>>>>> = {
  'Run it:': {
    demo: () => import('./demo.js'),
    run: () => import('./run.js'),
    load: () => import('./load.js'),
    agent: () => import('./agent.js'),
  },
  'Try a policy:': {
    preview: () => import('./preview.js'),
    explain: () => import('./explain.js'),
    lint: () => import('./lint.js'),
    test: () => import('./test.js'),
    diff: () => import('./diff.js'),
    schema: () => import('./schema.js'),
  },
  'Look after it:': {
    check: () => import('./check.js'),
    topics: () => import('./topics.js'),
    tail: () => import('./tail.js'),
    quarantine: () => import('./quarantine.js'),
    keys: () => import('./keys.js'),
  },
  'For your shell:': { completion: () => import('./completion.js'), man: () => import('./man.js') },
}

/** What is made from all commands. */
const ABOUT_ALL: ReadonlySet<string> = new Set(['completion', 'man'])

/**
 * Adds commands to a program, under their headings.
 * @param named only this one; every one where there is none of that name, or where it is about all of them
 */
export async function addCommands(program: Command, named: string | null): Promise<void> {
  const all = Object.entries(COMMANDS).flatMap(([heading, commands]) =>
    Object.entries(commands).map(([name, load]) => ({ heading, name, load })),
  )
  const wanted = named !== null && ABOUT_ALL.has(named) ? all : all.filter(({ name }) => name === named)
  for (const { heading, load } of wanted.length > 0 ? wanted : all) {
    program.commandsGroup(heading)
    ;(await load()).register(program)
  }
}
