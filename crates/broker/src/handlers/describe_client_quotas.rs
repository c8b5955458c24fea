//! DescribeClientQuotas, versions 0 and 1: the quotas that were set (KIP-546). Quotas cannot be set here yet, so nothing
//! matches; what is asked for is checked all the same, as a client that asks wrongly must hear of it.
//!
//! *Memory*: none. *Authorization*: DESCRIBE_CONFIGS on the cluster.

use klamm_model::ErrorCode;
use klamm_protocol::messages::describe_client_quotas_request::ComponentData;
use klamm_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::context::RequestContext;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Answers one request.
pub(crate) async fn handle(
    _context: &RequestContext<'_>,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    match check(&request.components) {
        Ok(()) => DescribeClientQuotasResponse {
            entries: Some(Vec::new()),
            ..Default::default()
        },
        Err((code, message)) => DescribeClientQuotasResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            entries: None,
            ..Default::default()
        },
    }
}

/// Checks the filter, in Kafka's order and words.
fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    for (at, component) in components.iter().enumerate() {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".into());
        }
        if components[..at]
            .iter()
            .any(|earlier| *earlier.entity_type == *kind)
        {
            return invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let message = format!("Unsupported entity type {kind}");
            return Err((ErrorCode::UnsupportedVersion, message));
        }
        let wrong = match (component.match_type, &component.r#match) {
            (EXACT, None) => "Request specified MATCH_TYPE_EXACT, but set match string to null.",
            (DEFAULT, Some(_)) => "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
            (SPECIFIED, Some(_)) => {
                "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."
            }
            (EXACT | DEFAULT | SPECIFIED, _) => continue,
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        return invalid(wrong.into());
    }
    let is_ip = |component: &ComponentData| *component.entity_type == *IP;
    if components.iter().any(is_ip) && !components.iter().all(is_ip) {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component."
                .into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entity type, match type, name.
    type Filter<'a> = &'a [(&'a str, i8, Option<&'a str>)];

    #[test]
    fn filters_are_checked_as_kafka_checks_them() {
        let (invalid, unsupported) = (ErrorCode::InvalidRequest, ErrorCode::UnsupportedVersion);
        let cases: [(Filter<'_>, _); 12] = [
            (&[], None),
            (&[("user", 0, Some("a")), ("client-id", 1, None)], None),
            (&[("ip", 2, None)], None),
            (&[("planet", 2, None)], Some((unsupported, "entity type planet"))),
            (&[("", 2, None)], Some((invalid, "empty entity type"))),
            (&[("user", 9, None)], Some((invalid, "match type 9"))),
            (&[("user", 0, None)], Some((invalid, "set match string to null"))),
            (&[("user", 1, Some("a"))], Some((invalid, "MATCH_TYPE_DEFAULT"))),
            (&[("user", 2, Some("a"))], Some((invalid, "MATCH_TYPE_SPECIFIED"))),
            (
                &[("user", 2, None), ("user", 1, None)],
                Some((invalid, "more than once")),
            ),
            (
                &[("ip", 2, None), ("user", 2, None)],
                Some((invalid, "component combination")),
            ),
            // The first that is wrong decides.
            (
                &[("user", 9, None), ("planet", 2, None)],
                Some((invalid, "match type 9")),
            ),
        ];
        for (filter, expected) in cases {
            let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
                entity_type: (*kind).into(),
                match_type: *match_type,
                r#match: name.map(Into::into),
                ..Default::default()
            };
            let components: Vec<_> = filter.iter().map(component).collect();
            match (check(&components), expected) {
                (Ok(()), None) => {}
                (Err((code, message)), Some((expected, words))) => {
                    assert_eq!(code, expected, "{filter:?}");
                    assert!(message.contains(words), "{filter:?}: {message}");
                }
                (verdict, _) => panic!("{filter:?}: {verdict:?}"),
            }
        }
    }
}
