//! Which parameters of a query distinguish pages.
//!
//! What the key ignores, the inner service must not see, or a page could depend on it. So the same
//! function writes the query of a key and that of the request which produces the page.
//!
//! Parameters are separated by `&`. Names are compared after decoding, because browsers encode
//! `filter[color]` and people who write links do not. The other parameters are kept as they were
//! sent. A `;` separates nothing: an application that takes it for a separator sees either both
//! parameters or none of them.

use std::{borrow::Cow, mem};

use http::{
    Uri,
    uri::{Parts, PathAndQuery},
};

use crate::pattern::Pattern;

/// The rules of a layer. By default, a query counts as it was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryRules {
    /// The parameters that count. If it is `None`, all do.
    pub(crate) only: Option<Vec<Pattern>>,
    /// The parameters that do not count.
    pub(crate) ignored: Vec<Pattern>,
    pub(crate) sorted: bool,
}

impl QueryRules {
    /// The part of a query that counts, or `None` if nothing does.
    ///
    /// Allocates only if that differs from the query, or to decode an encoded name.
    pub(crate) fn apply<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        if self.are_absent() || self.leave_unchanged(query) {
            return Some(Cow::Borrowed(query));
        }
        let mut kept: Vec<&str> = parameters(query).filter(|one| self.counts(one)).collect();
        if self.sorted {
            // The sort is stable: the order of parameters with the same name may matter.
            kept.sort_by(|one, other| name(one).cmp(&name(other)));
        }
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }

    /// Applies the rules to a URI. The result is `None` if it stays as it is.
    pub(crate) fn rewrite(&self, uri: &Uri) -> Option<Uri> {
        let target = match self.apply(uri.query()) {
            Some(Cow::Borrowed(_)) => return None,
            Some(Cow::Owned(query)) => PathAndQuery::try_from(format!("{}?{query}", uri.path())),
            None if uri.query().is_none() => return None,
            None => PathAndQuery::try_from(uri.path()),
        };
        let mut parts = Parts::from(uri.clone());
        // A part of a valid query is valid.
        parts.path_and_query = Some(target.ok()?);
        Uri::from_parts(parts).ok()
    }

    fn are_absent(&self) -> bool {
        self.only.is_none() && self.ignored.is_empty() && !self.sorted
    }

    fn leave_unchanged(&self, query: &str) -> bool {
        let mut sent = query.split('&');
        if !sent.clone().all(|one| !one.is_empty() && self.counts(one)) {
            return false;
        }
        let Some(mut before) = sent.next() else { return true };
        !self.sorted || sent.all(|next| name(mem::replace(&mut before, next)) <= name(next))
    }

    fn counts(&self, parameter: &str) -> bool {
        let name = name(parameter);
        let is_in =
            |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name.as_bytes()));
        self.only.as_deref().is_none_or(is_in) && !is_in(&self.ignored)
    }
}

/// The parameters of a query. Empty ones mean nothing in a form.
fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|parameter| !parameter.is_empty())
}

/// The decoded name of a parameter.
fn name(parameter: &str) -> Cow<'_, str> {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
    form_urlencoded::parse(name.as_bytes()).next().map_or(Cow::Borrowed(""), |(name, _)| name)
}

/// Parameters that advertisers, mail services and social networks add to links, for scripts in
/// browsers. Names that an application may use itself, such as `ref` and `source`, are not listed.
#[rustfmt::skip]
pub(crate) const MARKETING: &[&str] = &[
    "ScCid", "__hsfp", "__hssc", "__hstc", "_branch_match_id", "_branch_referrer", "_ga", "_gl",
    "_hsenc", "_hsmi", "_kx", "_openstat", "ck_subscriber_id", "dclid", "dm_i", "ef_id", "epik",
    "fbclid", "gad_campaignid", "gad_source", "gbraid", "gclid", "gclsrc", "hsCtaTracking", "hsa_*",
    "igsh", "igshid", "irclickid", "li_fat_id", "matomo_*", "mc_cid", "mc_eid", "mkt_tok",
    "msclkid", "mtm_*", "oly_anon_id", "oly_enc_id", "pk_campaign", "pk_cid", "pk_content",
    "pk_keyword", "pk_kwd", "pk_medium", "pk_source", "rdt_cid", "s_kwcid", "srsltid", "ttclid",
    "twclid", "utm_*", "vero_conv", "vero_id", "wbraid", "wickedid", "yclid", "ymclid",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(names: &[&str]) -> Vec<Pattern> {
        names.iter().map(|name| Pattern::new(name)).collect()
    }

    fn ignoring(names: &[&str]) -> QueryRules {
        QueryRules { ignored: patterns(names), ..QueryRules::default() }
    }

    fn only(names: &[&str]) -> QueryRules {
        QueryRules { only: Some(patterns(names)), ..QueryRules::default() }
    }

    fn sorted() -> QueryRules {
        QueryRules { sorted: true, ..QueryRules::default() }
    }

    fn applied(rules: &QueryRules, query: &str) -> Option<String> {
        rules.apply(Some(query)).map(Cow::into_owned)
    }

    #[test]
    fn without_rules_the_query_counts_as_it_was_sent() {
        for query in ["", "&&", "b=1&a=2", "utm_source=x"] {
            assert_eq!(applied(&QueryRules::default(), query).as_deref(), Some(query));
        }
        assert_eq!(QueryRules::default().apply(None), None);
    }

    #[test]
    fn ignored_parameters_are_removed_and_the_others_kept_as_sent() {
        let rules = ignoring(&["utm_*", "gclid"]);
        let applied = |query| applied(&rules, query);
        assert_eq!(applied("utm_source=a&b=%7E+1&gclid=2&c").as_deref(), Some("b=%7E+1&c"));
        assert_eq!(applied("a=1&a=2&utm=3").as_deref(), Some("a=1&a=2&utm=3"));
        assert_eq!(applied("gclid&utm_=1"), None);
        assert_eq!(applied(""), None);
    }

    #[test]
    fn only_listed_parameters_remain() {
        let rules = QueryRules { ignored: patterns(&["p2"]), ..only(&["page", "p*"]) };
        assert_eq!(applied(&rules, "x=1&page=2&p2=3&p3").as_deref(), Some("page=2&p3"));
        assert_eq!(applied(&only(&[]), "x=1"), None);
    }

    #[test]
    fn names_are_compared_after_decoding() {
        let rules = only(&["filter[color]", "a b"]);
        for query in ["filter[color]=1", "filter%5Bcolor%5D=1", "filter%5bcolor]", "a+b=1", "a%20b"]
        {
            assert_eq!(applied(&rules, query).as_deref(), Some(query));
        }
        assert_eq!(applied(&ignoring(&["utm_*"]), "%75tm%5Fsource=1"), None);
        assert_eq!(applied(&ignoring(&["a"]), "%61%3Db=1").as_deref(), Some("%61%3Db=1"));
    }

    #[test]
    fn semicolon_separates_nothing() {
        let rules = ignoring(&["utm_*"]);
        assert_eq!(applied(&rules, "utm_source=1;admin=1"), None);
        assert_eq!(applied(&rules, "a=1;utm_source=1").as_deref(), Some("a=1;utm_source=1"));
    }

    #[test]
    fn sorting_keeps_the_order_of_parameters_with_the_same_name() {
        assert_eq!(applied(&sorted(), "b=1&a=2&b=0").as_deref(), Some("a=2&b=1&b=0"));
        assert_eq!(applied(&sorted(), "b&a%5B%5D=2&a[]=1").as_deref(), Some("a%5B%5D=2&a[]=1&b"));
    }

    #[test]
    fn query_that_needs_no_change_is_borrowed() {
        let rules = QueryRules { sorted: true, ..ignoring(&["utm_*"]) };
        let is_borrowed = |query| matches!(rules.apply(Some(query)), Some(Cow::Borrowed(_)));
        assert!(is_borrowed("a=1&b=2&b=1&c") && is_borrowed("a"));
        assert!(!is_borrowed("b=1&a=2") && !is_borrowed("a=1&&b=2") && !is_borrowed("a&utm_id=1"));
    }

    #[test]
    fn rewritten_uri_keeps_its_scheme_authority_and_path() {
        let rules = ignoring(&["gclid"]);
        let rewritten = |uri: &str| {
            let uri = uri.parse().expect("valid URI");
            rules.rewrite(&uri).map(|uri| uri.to_string())
        };
        assert_eq!(
            rewritten("https://a:1/%7e?gclid=1&b=2").as_deref(),
            Some("https://a:1/%7e?b=2")
        );
        assert_eq!(rewritten("/a?gclid=1").as_deref(), Some("/a"));
        assert_eq!(rewritten("/a?").as_deref(), Some("/a"));
        assert_eq!(rewritten("/a?b=2"), None);
        assert_eq!(rewritten("/a"), None);
    }

    proptest! {
        #[test]
        fn rules_applied_twice_change_nothing_more(query in "(a|b|utm_x|%75|=|&|;|\\+|1){0,12}") {
            for sorted in [false, true] {
                let rules = QueryRules { sorted, ..ignoring(&["utm_*", "u"]) };
                let once = applied(&rules, &query);
                let twice = once.as_deref().and_then(|query| applied(&rules, query));
                prop_assert_eq!(&twice, &once);
                let uri: Uri = format!("/?{query}").parse().expect("valid URI");
                let seen = rules.rewrite(&uri).unwrap_or(uri);
                prop_assert_eq!(seen.query().map(str::to_owned), once);
            }
        }
    }
}
