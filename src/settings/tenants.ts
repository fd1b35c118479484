/** The tenants of the settings, as the stages take them. */
import type { Tenant } from '../flow/tenant.js'
import type { Settings } from './schema.js'

export function tenantsOf(settings: Settings): Tenant[] {
  return Object.entries(settings.tenants).map(([name, tenant]) => ({ name, ...tenant }))
}
