//! Keys of OAuth bearer tokens.
//!
//! Always holds: known and not served yet.
//! Next: `keys/security.rs`.

use super::keys;
use super::reasons::{JAVA_CLASS, NO_TLS_NO_SASL};
use crate::key::{Key, Scope, Update};

/// The keys, in the order of the reference.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    Boolean "sasl.oauthbearer.allow.unverified.audience" = "false", not_served(NO_TLS_NO_SASL);
        "A token is accepted without a check of its audience."
    Boolean "sasl.oauthbearer.allow.unverified.issuer" = "false", not_served(NO_TLS_NO_SASL);
        "A token is accepted without a check of its issuer."
    String "sasl.oauthbearer.assertion.algorithm" = "RS256", one_of_any_case(&["ES256", "RS256"]),
        not_served(NO_TLS_NO_SASL);
        "Algorithm that signs an assertion."
    String "sasl.oauthbearer.assertion.claim.aud", not_served(NO_TLS_NO_SASL);
        "Audience in an assertion."
    Int "sasl.oauthbearer.assertion.claim.exp.seconds" = "300", between(0, 86400), seconds, low,
        not_served(NO_TLS_NO_SASL);
        "Time until an assertion expires."
    String "sasl.oauthbearer.assertion.claim.iss", not_served(NO_TLS_NO_SASL);
        "Issuer in an assertion."
    Boolean "sasl.oauthbearer.assertion.claim.jti.include" = "false", not_served(NO_TLS_NO_SASL);
        "An assertion carries a unique id."
    Int "sasl.oauthbearer.assertion.claim.nbf.seconds" = "60", between(0, 3600), seconds, low,
        not_served(NO_TLS_NO_SASL);
        "How far an assertion's begin lies in the past."
    String "sasl.oauthbearer.assertion.claim.sub", not_served(NO_TLS_NO_SASL);
        "Subject in an assertion."
    String "sasl.oauthbearer.assertion.file", not_served(NO_TLS_NO_SASL);
        "File with a ready assertion."
    String "sasl.oauthbearer.assertion.private.key.file", not_served(NO_TLS_NO_SASL);
        "File with the key that signs an assertion."
    Password "sasl.oauthbearer.assertion.private.key.passphrase", not_served(NO_TLS_NO_SASL);
        "Passphrase of that key."
    String "sasl.oauthbearer.assertion.template.file", not_served(NO_TLS_NO_SASL);
        "File with headers and claims of an assertion."
    String "sasl.oauthbearer.client.credentials.client.id", not_served(NO_TLS_NO_SASL);
        "Client id at the identity provider."
    Password "sasl.oauthbearer.client.credentials.client.secret", not_served(NO_TLS_NO_SASL);
        "Client secret at the identity provider."
    Int "sasl.oauthbearer.clock.skew.seconds" = "30", seconds, low, not_served(NO_TLS_NO_SASL);
        "Difference of clocks that is tolerated."
    List "sasl.oauthbearer.expected.audience" = "", items(&[]), high, not_served(NO_TLS_NO_SASL);
        "Audiences of which a token must name one."
    String "sasl.oauthbearer.expected.issuer", high, not_served(NO_TLS_NO_SASL);
        "Issuer that a token must name."
    Long "sasl.oauthbearer.jwks.endpoint.refresh.ms" = "3600000", ms, low, not_served(NO_TLS_NO_SASL);
        "Interval at which the provider's keys are fetched."
    Long "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" = "100", ms, low, not_served(NO_TLS_NO_SASL);
        "First pause after a failed fetch of keys."
    Long "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" = "10000", ms, low, not_served(NO_TLS_NO_SASL);
        "Longest pause after failed fetches of keys."
    String "sasl.oauthbearer.jwks.endpoint.url", not_served(NO_TLS_NO_SASL);
        "Address of the provider's keys."
    Class "sasl.oauthbearer.jwt.retriever.class" = "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", not_served(JAVA_CLASS);
        "Java class that fetches tokens."
    Class "sasl.oauthbearer.jwt.validator.class" = "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", not_served(JAVA_CLASS);
        "Java class that validates tokens."
    String "sasl.oauthbearer.scope", not_served(NO_TLS_NO_SASL);
        "Scope that is asked for."
    String "sasl.oauthbearer.scope.claim.name" = "scope", low, not_served(NO_TLS_NO_SASL);
        "Claim that holds the scope."
    String "sasl.oauthbearer.sub.claim.name" = "sub", low, not_served(NO_TLS_NO_SASL);
        "Claim that holds the subject."
    String "sasl.oauthbearer.token.endpoint.url", not_served(NO_TLS_NO_SASL);
        "Address that gives tokens."
};
