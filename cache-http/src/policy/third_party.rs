//! The names of cookies that only scripts in browsers, load balancers and content delivery networks
//! read.
//!
//! A cookie belongs here only if no application needs it to produce a page: the cache removes these
//! cookies from the requests that it handles. Cookies of consent, language or theme, of tests that
//! servers evaluate, and of load balancers that sign visitors in (`AWSELBAuthSessionCookie-0`) do
//! not.

/// Whether this is the name of a third-party cookie.
pub(super) fn is_third_party(name: &[u8]) -> bool {
    if NAMES.binary_search_by(|known| known.as_bytes().cmp(name)).is_ok() {
        return true;
    }
    // No beginning is the beginning of another one. So only the last one that is not after the name
    // can match.
    let after = STARTS.partition_point(|start| start.as_bytes() <= name);
    STARTS[..after].last().is_some_and(|start| name.starts_with(start.as_bytes()))
        || name.strip_prefix(b"mp_").is_some_and(|rest| rest.ends_with(b"_mixpanel"))
}

/// Whole names, sorted.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "ARRAffinity", "ARRAffinitySameSite", "AWSALB", "AWSALBCORS", "AWSALBTG", "AWSALBTGCORS",
    "AWSELB", "AWSELBCORS", "ApplicationGatewayAffinity", "ApplicationGatewayAffinityCORS", "GCILB",
    "GCLB", "__cf_bm", "__cfduid", "__cflb", "__cfruid", "__eoi", "__gads", "__gpi", "__hssc",
    "__hssrc", "__hstc", "__kla_id", "__qca", "__stripe_mid", "__stripe_sid", "__utma", "__utmb",
    "__utmc", "__utmt", "__utmv", "__utmz", "__zlcmid", "_abck", "_cb", "_cb_ls", "_cb_svref",
    "_cfuvid", "_chartbeat2", "_clck", "_clsk", "_dd_s", "_derived_epik", "_epik", "_fbc", "_fbp",
    "_ga", "_gat", "_gid", "_mkto_trk", "_parsely_session", "_parsely_visitor", "_pin_unauth",
    "_rdt_cid", "_rdt_uuid", "_schn", "_scid", "_scid_r", "_sctr", "_tt_enable_cookie", "_ttp",
    "_twclid", "_uetmsclkid", "_uetsid", "_uetvid", "ak_bmsc", "bm_mi", "bm_sv", "bm_sz",
    "cf_clearance", "cto_bundle", "cto_lwid", "datadome", "drift_aid", "driftt_aid", "dtCookie",
    "dtPC", "dtSa", "fs_lua", "fs_uid", "hubspotutk", "li_fat_id", "rxVisitor", "rxvt", "s_cc",
    "s_fid", "s_sq", "s_vi",
];

/// The beginnings of names, sorted.
#[rustfmt::skip]
const STARTS: &[&str] = &[
    "AMCVS_", "AMCV_", "AMP_", "AWSALBAPP-", "BIGipServer", "Hm_lpvt_", "Hm_lvt_", "_ce.",
    "_dc_gtm_", "_ga_", "_gac_", "_gat_", "_gcl_", "_hj", "_hp2_", "_lo_", "_pk_", "_vis_opt_",
    "_vwo_", "_ym_", "amplitude_", "crisp-client", "incap_ses_", "intercom-device-id-",
    "intercom-id-", "intercom-session-", "mf_", "nlbi_", "twk_", "visid_incap_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_no_beginning_is_the_beginning_of_another() {
        assert!(NAMES.is_sorted() && STARTS.is_sorted());
        let overlaps = |pair: &[&str]| pair[1].starts_with(pair[0]);
        assert!(!STARTS.windows(2).any(overlaps));
    }

    #[test]
    fn each_name_is_recognized_and_cookies_of_applications_are_not() {
        for name in NAMES {
            assert!(is_third_party(name.as_bytes()), "{name}");
        }
        for start in STARTS {
            assert!(is_third_party(format!("{start}1").as_bytes()), "{start}");
        }
        assert!(is_third_party(b"mp_0123_mixpanel"));
        for name in [
            "",
            "_g",
            "_GA",
            "_gaz",
            "~",
            "AWSALBAuthNonce",
            "AWSELBAuthSessionCookie-0",
            "mp_mixpanel",
            "CookieConsent",
            "csrftoken",
            "lang",
            "theme",
        ] {
            assert!(!is_third_party(name.as_bytes()), "{name}");
        }
    }
}
