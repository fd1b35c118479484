/**
 * What leaves the proxy: messages of one batch, ready for Kafka. Only `project` mints it (`output.ts`); `deliver` takes
 * nothing else, so a way round the policy is a type error, and refused where types were cast away.
 */
export { isMinted, type Minimised } from './output.js'
