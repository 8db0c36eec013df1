//! Trait aliases for the bounds on the inner service and on its response body.

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

/// A response body that can be sent and stored from a spawned task.
pub(crate) trait ResponseBody: Body<Data: Send, Error: Send> + Send + 'static {}

impl<B> ResponseBody for B where B: Body<Data: Send, Error: Send> + Send + 'static {}

/// A service that takes a request with the body `Q`, returns a response with the body `B`, and can
/// be called from a spawned task.
pub(crate) trait InnerService<Q, B>:
    Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send> + Send + 'static
{
}

impl<S, Q, B> InnerService<Q, B> for S where
    S: Service<Request<Q>, Response = Response<B>, Error: Send, Future: Send> + Send + 'static
{
}
