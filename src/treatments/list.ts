/**
 * All treatments: a new one is a file of its own and one line here. Kept in the order of their names, as whoever
 * iterates them sees them.
 */
export { e164Prefix } from './e164-prefix.js'
export { ipPrefix } from './ip-prefix.js'
export { keep } from './keep.js'
export { macVendor } from './mac-vendor.js'
export { numberBucket } from './number-bucket.js'
export { timeBucket } from './time-bucket.js'
export { token } from './token.js'
export { userAgent } from './user-agent.js'
