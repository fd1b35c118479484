/** Delivery as it is shipped: with the defaults of the settings, but for what a test says. */
import { Delivery, type DeliveryOptions, type DeliverySettings } from '../../src/deliver/delivery.js'
import { DEFAULTS } from '../../src/settings/defaults.js'

/** What `minim run` gives delivery when no settings say otherwise. */
export const SHIPPED_DELIVERY: DeliverySettings = { cluster: DEFAULTS.cluster, ...DEFAULTS.delivery }

export type TestDelivery = Omit<DeliveryOptions, 'settings' | 'replication'> & {
  readonly settings?: Partial<DeliverySettings>
  readonly replication?: number
}

export function shippedDelivery({ settings, ...options }: TestDelivery): Delivery {
  return new Delivery({
    replication: DEFAULTS.topics.replication,
    ...options,
    settings: { ...SHIPPED_DELIVERY, ...settings },
  })
}
