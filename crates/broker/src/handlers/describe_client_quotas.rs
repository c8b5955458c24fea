//! DescribeClientQuotas, versions 0 and 1: the quotas that were set (KIP-546). Quotas cannot be set here yet, so nothing
//! matches. *Memory*: none. *Authorization*: DESCRIBE_CONFIGS on the cluster.

use klamm_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::context::RequestContext;

/// Answers one request.
pub(crate) async fn handle(
    _context: &RequestContext<'_>,
    _request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse {
        entries: Some(Vec::new()),
        ..Default::default()
    }
}
