//! Response futures of the services in this crate.

pub use crate::{change_headers::ChangeHeadersFuture, service::ResponseFuture};
