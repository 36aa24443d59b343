//! Origin of an address: only addresses with the scheme, host and port of the endpoint receive the token.

use ureq::http::Uri;

/// Returns scheme, host and port of an absolute address.
pub(super) fn origin(address: &str) -> Option<(String, String, u16)> {
    let uri: Uri = address.parse().ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// Returns whether two absolute addresses have the same scheme, host and port.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    origin(one).is_some_and(|found| Some(found) == origin(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let is_own = |address: &str| same_origin(address, "https://Hub.example/");
        assert!(is_own("https://hub.example/a/b") && is_own("https://hub.example:443/"));
        for other in [
            "http://hub.example/a",
            "https://hub.example:8443/",
            "https://hub.example.com/",
            "https://cdn.hub.example/",
            "/a",
            "",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
