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
