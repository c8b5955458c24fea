//! DescribeAcls, versions 1 to 3. Without an authorizer there are no ACLs to describe, and the answer says so, as a Kafka
//! without one does. *Memory*: none. *Authorization*: DESCRIBE on the cluster.

use klamm_model::ErrorCode;
use klamm_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use crate::context::RequestContext;

/// Answers one request.
pub(crate) async fn handle(
    _context: &RequestContext<'_>,
    _request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Default::default()
    }
}
