//! The host of a request, which is checked before the cache sees the request.

use http::{
    HeaderValue, Request, Version,
    header::HOST,
    uri::{Authority, Uri},
};

/// Checks the host of a request, and sets `Host` to the host of the request target if that has one.
///
/// # Errors
///
/// Returns what is wrong with a request that must be answered with status 400 (RFC 9112, section
/// 3.2; RFC 9113, section 8.3.1).
pub(crate) fn check<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    let mut lines = request.headers().get_all(HOST).iter();
    let header = match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => return Err("the request has several Host headers"),
        (None, _) if request.version() == Version::HTTP_11 => {
            return Err("the request has no Host header");
        }
        (header, _) => header.map(authority).transpose()?,
    };
    let Some(target) = target(request.uri())? else { return Ok(()) };
    if request.version() == Version::HTTP_2 && header.is_some_and(|header| header != target) {
        return Err("the Host header differs from the host of the request target");
    }
    // A proxy ignores the received header (RFC 9112, section 3.2.2).
    let value = HeaderValue::from_str(target.as_str()).map_err(|_| INVALID)?;
    request.headers_mut().insert(HOST, value);
    Ok(())
}

const INVALID: &str = "the host of the request is invalid";

fn authority(host: &HeaderValue) -> Result<Authority, &'static str> {
    without_userinfo(Authority::try_from(host.as_bytes()).map_err(|_| INVALID)?)
}

/// The host and the port of the request target, if it has them.
fn target(uri: &Uri) -> Result<Option<Authority>, &'static str> {
    uri.authority().cloned().map(without_userinfo).transpose()
}

/// Rejects user information (RFC 9110, section 4.2.4).
fn without_userinfo(authority: Authority) -> Result<Authority, &'static str> {
    if authority.as_str().contains('@') { Err(INVALID) } else { Ok(authority) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        version: Version,
        target: &str,
        hosts: &[&'static str],
    ) -> Result<Option<HeaderValue>, &'static str> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).expect("valid request");
        check(&mut request).map(|()| request.headers().get(HOST).cloned())
    }

    #[test]
    fn request_without_exactly_one_valid_host_is_rejected() {
        let check = |hosts: &[&'static str]| checked(Version::HTTP_11, "/", hosts);
        assert_eq!(check(&["a:8080"]), Ok(Some(HeaderValue::from_static("a:8080"))));
        for hosts in [&[][..], &["a", "a"], &[""], &["a b"], &["a/b"], &["user@a"]] {
            assert!(check(hosts).is_err(), "{hosts:?}");
        }
        assert!(checked(Version::HTTP_11, "http://a/", &[]).is_err());
        assert_eq!(checked(Version::HTTP_10, "/", &[]), Ok(None));
    }

    #[test]
    fn host_of_the_request_target_replaces_the_header() {
        let a = || Ok(Some(HeaderValue::from_static("a")));
        assert_eq!(checked(Version::HTTP_11, "http://a/x", &["b"]), a());
        assert_eq!(checked(Version::HTTP_2, "http://a/x", &[]), a());
        assert_eq!(checked(Version::HTTP_2, "http://a/x", &["A"]), a());
        assert!(checked(Version::HTTP_2, "http://a/x", &["b"]).is_err());
        assert!(checked(Version::HTTP_11, "http://user@a/x", &["a"]).is_err());
    }
}
