//! Keys of TLS, SASL and delegation tokens.
//!
//! Always holds: known and not served yet; a listener that needs them stops the start (`broker/listeners.rs`).
//! Next: `keys/oauth.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_TLS_NO_SASL};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Class "principal.builder.class" = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", per_broker, refused(JAVA_CLASS);
        "Java class that names who is behind a connection."
    String "security.providers", low, not_served(JAVA_CLASS);
        "Java classes with security algorithms."
    Int "connection.failed.authentication.delay.ms" = "100", at_least(0), ms, low, not_served(NO_TLS_NO_SASL);
        "Pause before a connection that failed to authenticate is closed."
    Long "connections.max.reauth.ms" = "0", ms, not_served(NO_TLS_NO_SASL);
        "Time after which a client must authenticate again; 0 for never."
    Long "delegation.token.expiry.check.interval.ms" = "3600000", at_least(1), ms, low,
        not_served(NO_TLS_NO_SASL);
        "Interval at which expired delegation tokens are removed."
    Long "delegation.token.expiry.time.ms" = "86400000", at_least(1), ms, not_served(NO_TLS_NO_SASL);
        "A delegation token ends after this time unless it is renewed."
    Long "delegation.token.max.lifetime.ms" = "604800000", at_least(1), ms, not_served(NO_TLS_NO_SASL);
        "A delegation token cannot be renewed beyond this age."
    Password "delegation.token.secret.key", not_served(NO_TLS_NO_SASL);
        "Secret that signs delegation tokens; the same on every node."
    Class "sasl.client.callback.handler.class", not_served(JAVA_CLASS);
        "Java class for this node's SASL clients."
    List "sasl.enabled.mechanisms" = "GSSAPI", items(&[]), per_broker, not_served(NO_TLS_NO_SASL);
        "SASL mechanisms that clients may use."
    Password "sasl.jaas.config", per_broker, not_served(NO_TLS_NO_SASL);
        "Login of a SASL listener, in JAAS syntax."
    String "sasl.kerberos.kinit.cmd" = "/usr/bin/kinit", per_broker, not_served(NO_TLS_NO_SASL);
        "Path of Kerberos' kinit."
    Long "sasl.kerberos.min.time.before.relogin" = "60000", per_broker, not_served(NO_TLS_NO_SASL);
        "Pause between two Kerberos logins."
    List "sasl.kerberos.principal.to.local.rules" = "DEFAULT", items(&[]), per_broker,
        not_served(NO_TLS_NO_SASL);
        "Rules from Kerberos principals to short names."
    String "sasl.kerberos.service.name", per_broker, not_served(NO_TLS_NO_SASL);
        "Kerberos service under which the broker runs."
    Double "sasl.kerberos.ticket.renew.jitter" = "0.05", per_broker, not_served(NO_TLS_NO_SASL);
        "Random share added to the time of a ticket's renewal."
    Double "sasl.kerberos.ticket.renew.window.factor" = "0.8", per_broker, not_served(NO_TLS_NO_SASL);
        "Share of a ticket's life after which it is renewed."
    Class "sasl.login.callback.handler.class", not_served(JAVA_CLASS);
        "Java class that answers a login's questions."
    Class "sasl.login.class", not_served(JAVA_CLASS);
        "Java class that logs in."
    Int "sasl.login.connect.timeout.ms", ms, low, not_served(NO_TLS_NO_SASL);
        "Timeout of the connection to an identity provider."
    Int "sasl.login.read.timeout.ms", ms, low, not_served(NO_TLS_NO_SASL);
        "Timeout of a read from an identity provider."
    Short "sasl.login.refresh.buffer.seconds" = "300", seconds, per_broker, not_served(NO_TLS_NO_SASL);
        "Time left on a credential when it is refreshed."
    Short "sasl.login.refresh.min.period.seconds" = "60", seconds, per_broker, not_served(NO_TLS_NO_SASL);
        "Shortest time between two refreshes of a credential."
    Double "sasl.login.refresh.window.factor" = "0.8", per_broker, not_served(NO_TLS_NO_SASL);
        "Share of a credential's life after which it is refreshed."
    Double "sasl.login.refresh.window.jitter" = "0.05", per_broker, not_served(NO_TLS_NO_SASL);
        "Random share added to that time."
    Long "sasl.login.retry.backoff.ms" = "100", ms, low, not_served(NO_TLS_NO_SASL);
        "First pause after a failed login."
    Long "sasl.login.retry.backoff.max.ms" = "10000", ms, low, not_served(NO_TLS_NO_SASL);
        "Longest pause after failed logins."
    String "sasl.mechanism.controller.protocol" = "GSSAPI", high, not_served(NO_TLS_NO_SASL);
        "SASL mechanism between brokers and controllers."
    String "sasl.mechanism.inter.broker.protocol" = "GSSAPI", per_broker, not_served(NO_TLS_NO_SASL);
        "SASL mechanism between brokers."
    Class "sasl.server.callback.handler.class", not_served(JAVA_CLASS);
        "Java class that checks a client's credentials."
    Int "sasl.server.max.receive.size" = "524288", bytes, not_served(NO_TLS_NO_SASL);
        "Largest message before a client has authenticated."
    Boolean "ssl.allow.dn.changes" = "false", low, not_served(NO_TLS_NO_SASL);
        "A new certificate may name another subject."
    Boolean "ssl.allow.san.changes" = "false", low, not_served(NO_TLS_NO_SASL);
        "A new certificate may drop alternative names."
    List "ssl.cipher.suites" = "", items(&[]), per_broker, not_served(NO_TLS_NO_SASL);
        "Cipher suites that TLS may use; empty for the library's own."
    String "ssl.client.auth" = "none", one_of(&["required", "requested", "none"]), per_broker,
        not_served(NO_TLS_NO_SASL);
        "Whether a TLS client must show a certificate."
    List "ssl.enabled.protocols" = "TLSv1.2,TLSv1.3", items(&[]), per_broker, not_served(NO_TLS_NO_SASL);
        "TLS versions that are offered."
    String "ssl.endpoint.identification.algorithm" = "https", low, per_broker, not_served(NO_TLS_NO_SASL);
        "How a server's name is checked against its certificate; empty for not at all."
    Class "ssl.engine.factory.class", low, per_broker, not_served(JAVA_CLASS);
        "Java class that makes TLS engines."
    Password "ssl.key.password", per_broker, not_served(NO_TLS_NO_SASL);
        "Password of the private key."
    String "ssl.keymanager.algorithm" = "SunX509", per_broker, not_served(NO_TLS_NO_SASL);
        "Algorithm of Java's key manager."
    Password "ssl.keystore.certificate.chain", per_broker, not_served(NO_TLS_NO_SASL);
        "Certificate chain in PEM."
    Password "ssl.keystore.key", per_broker, not_served(NO_TLS_NO_SASL);
        "Private key in PEM."
    String "ssl.keystore.location", per_broker, not_served(NO_TLS_NO_SASL);
        "File with key and certificate."
    Password "ssl.keystore.password", per_broker, not_served(NO_TLS_NO_SASL);
        "Password of that file."
    String "ssl.keystore.type" = "JKS", per_broker, not_served(NO_TLS_NO_SASL);
        "Format of that file."
    String "ssl.principal.mapping.rules" = "DEFAULT", low, not_served(NO_TLS_NO_SASL);
        "Rules from a certificate's subject to a short name."
    String "ssl.protocol" = "TLSv1.3", per_broker, not_served(NO_TLS_NO_SASL);
        "TLS version of a new context."
    String "ssl.provider", per_broker, not_served(NO_TLS_NO_SASL);
        "Java's security provider for TLS."
    String "ssl.secure.random.implementation", low, per_broker, not_served(NO_TLS_NO_SASL);
        "Java's random source for TLS."
    String "ssl.trustmanager.algorithm" = "PKIX", per_broker, not_served(NO_TLS_NO_SASL);
        "Algorithm of Java's trust manager."
    Password "ssl.truststore.certificates", per_broker, not_served(NO_TLS_NO_SASL);
        "Trusted certificates in PEM."
    String "ssl.truststore.location", per_broker, not_served(NO_TLS_NO_SASL);
        "File with trusted certificates."
    Password "ssl.truststore.password", per_broker, not_served(NO_TLS_NO_SASL);
        "Password of that file."
    String "ssl.truststore.type" = "JKS", per_broker, not_served(NO_TLS_NO_SASL);
        "Format of that file."
};
