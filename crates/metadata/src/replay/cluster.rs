//! What the records of brokers and controllers mean.
//!
//! Always holds: a change applies to the incarnation that it was decided for.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::BrokerId;
use klamm_protocol::metadata_records as records;

use super::{Replay, Unfit};
use crate::image::{BrokerRegistration, ControllerRegistration, Endpoint, VersionRange};

impl Replay {
    pub(super) fn register_broker(&mut self, record: &records::RegisterBrokerRecord) {
        let id = BrokerId(record.broker_id);
        let endpoint = |point: &records::register_broker_record::BrokerEndpoint| Endpoint {
            listener: (&*point.name).into(),
            host: (&*point.host).into(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let feature = |feature: &records::register_broker_record::BrokerFeature| {
            let range = VersionRange {
                min: feature.min_supported_version,
                max: feature.max_supported_version,
            };
            ((&*feature.name).into(), range)
        };
        let registration = BrokerRegistration {
            id,
            incarnation: record.incarnation_id,
            epoch: record.broker_epoch,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.as_deref().map(Into::into),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            directories: sorted(&record.log_dirs),
            cordoned: record.cordoned_log_dirs.as_deref().map(sorted),
        };
        self.image.cluster.brokers.insert(id, Arc::new(registration));
    }

    pub(super) fn unregister_broker(
        &mut self,
        record: &records::UnregisterBrokerRecord,
    ) -> Result<(), Unfit> {
        self.broker(record.broker_id, record.broker_epoch)?;
        self.image.cluster.brokers.remove(&BrokerId(record.broker_id));
        Ok(())
    }

    pub(super) fn change_broker(
        &mut self,
        record: &records::BrokerRegistrationChangeRecord,
    ) -> Result<(), Unfit> {
        let fenced = change(record.fenced, "Fenced")?;
        let shutting_down = change(record.in_controlled_shutdown, "InControlledShutdown")?;
        let broker = self.broker(record.broker_id, record.broker_epoch)?;
        broker.fenced = fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = shutting_down.unwrap_or(broker.in_controlled_shutdown);
        if !record.log_dirs.is_empty() {
            broker.directories = sorted(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned = Some(sorted(cordoned));
        }
        Ok(())
    }

    pub(super) fn set_fenced(&mut self, id: i32, epoch: i64, fenced: bool) -> Result<(), Unfit> {
        self.broker(id, epoch)?.fenced = fenced;
        Ok(())
    }

    /// The registration of the broker's incarnation `epoch`, to be changed.
    fn broker(&mut self, id: i32, epoch: i64) -> Result<&mut BrokerRegistration, Unfit> {
        let broker = self
            .image
            .cluster
            .brokers
            .get_mut(&BrokerId(id))
            .ok_or(Unfit::Broker(id))?;
        if broker.epoch != epoch {
            return Err(Unfit::BrokerEpoch {
                broker: id,
                actual: broker.epoch,
                recorded: epoch,
            });
        }
        Ok(Arc::make_mut(broker))
    }

    pub(super) fn register_controller(&mut self, record: &records::RegisterControllerRecord) {
        let id = BrokerId(record.controller_id);
        let endpoint = |point: &records::register_controller_record::ControllerEndpoint| Endpoint {
            listener: (&*point.name).into(),
            host: (&*point.host).into(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let features: BTreeMap<Arc<str>, VersionRange> = record
            .features
            .iter()
            .map(|feature| {
                let range = VersionRange {
                    min: feature.min_supported_version,
                    max: feature.max_supported_version,
                };
                ((&*feature.name).into(), range)
            })
            .collect();
        let registration = ControllerRegistration {
            id,
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features,
        };
        self.image.cluster.controllers.insert(id, Arc::new(registration));
    }

    pub(super) fn unregister_controller(&mut self, record: &records::UnregisterControllerRecord) {
        self.image
            .cluster
            .controllers
            .remove(&BrokerId(record.controller_id));
    }
}

/// -1: no; 0: as it was; 1: yes.
fn change(code: i8, field: &'static str) -> Result<Option<bool>, Unfit> {
    match code {
        -1 => Ok(Some(false)),
        0 => Ok(None),
        1 => Ok(Some(true)),
        _ => Err(Unfit::Value {
            field,
            value: code.into(),
        }),
    }
}

fn sorted(ids: &[klamm_model::Uuid]) -> Vec<klamm_model::Uuid> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}
