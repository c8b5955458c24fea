//! Keys of plug-ins, metrics, quotas and telemetry.
//!
//! Always holds: a Java class that would decide over requests is refused, never ignored.
//! Next: `keys/security.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_QUOTAS, NO_TELEMETRY, OWN_METRICS};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    String "authorizer.class.name" = "", low, refused(JAVA_CLASS);
        "Java class that authorizes requests."
    Class "alter.config.policy.class.name", low, refused(JAVA_CLASS);
        "Java class that may refuse a change of configuration."
    Class "create.topic.policy.class.name", low, refused(JAVA_CLASS);
        "Java class that may refuse a new topic."
    Class "client.quota.callback.class", low, refused(JAVA_CLASS);
        "Java class that computes client quotas."
    List "config.providers" = "", items(&[]), low, cluster_wide, refused(JAVA_CLASS);
        "Java classes that fetch values from elsewhere."
    List "kafka.metrics.reporters" = "", items(&[]), low, not_served(JAVA_CLASS);
        "Java classes that receive the broker's metrics."
    Int "kafka.metrics.polling.interval.secs" = "10", at_least(1), seconds, low, not_served(OWN_METRICS);
        "Interval at which those classes are called."
    List "metric.reporters" = "org.apache.kafka.common.metrics.JmxReporter", items(&[]), low, cluster_wide,
        not_served(JAVA_CLASS);
        "Java classes that receive metrics."
    Int "metrics.num.samples" = "2", at_least(1), low, not_served(OWN_METRICS);
        "Windows behind a metric."
    String "metrics.recording.level" = "INFO", low, not_served(OWN_METRICS);
        "How detailed the metrics are."
    Long "metrics.sample.window.ms" = "30000", at_least(1), ms, low, not_served(OWN_METRICS);
        "Length of a metric's window."
    Int "quota.window.num" = "11", at_least(1), low, not_served(NO_QUOTAS);
        "Windows that a client quota remembers."
    Int "quota.window.size.seconds" = "1", at_least(1), seconds, low, not_served(NO_QUOTAS);
        "Length of a client quota's window."
    Int "controller.quota.window.num" = "11", at_least(1), low, not_served(NO_QUOTAS);
        "Windows that the quota on controller changes remembers."
    Int "controller.quota.window.size.seconds" = "1", at_least(1), seconds, low, not_served(NO_QUOTAS);
        "Length of a window of the quota on controller changes."
    Int "telemetry.max.bytes" = "1048576", at_least(1), bytes, low, not_served(NO_TELEMETRY);
        "Largest push of a client's metrics."
};
