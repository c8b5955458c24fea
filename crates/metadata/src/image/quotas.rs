//! Client quotas (KIP-546).
//!
//! Always holds: an entity without a quota is not in the map.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

/// Whom a quota is for: `user`, `client-id` or `ip` and its name; without a name, the default.
pub type QuotaEntity = BTreeMap<Arc<str>, Option<Arc<str>>>;

/// All client quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientQuotas {
    pub(crate) by_entity: OrdMap<QuotaEntity, BTreeMap<Arc<str>, f64>>,
}

impl ClientQuotas {
    /// The quotas of `entity`, by name.
    pub fn get(&self, entity: &QuotaEntity) -> Option<&BTreeMap<Arc<str>, f64>> {
        self.by_entity.get(entity)
    }

    /// All entities with quotas.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<Arc<str>, f64>)> {
        self.by_entity.iter()
    }
}
