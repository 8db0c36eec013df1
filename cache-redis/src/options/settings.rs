//! The options as they appear in a configuration.

use std::{path::PathBuf, time::Duration};

use cache_core::config;
use serde::{Deserialize, Deserializer, de};

use super::{CertReqs, RedisOptions};

#[derive(Deserialize)]
struct Seconds(#[serde(deserialize_with = "config::seconds")] Duration);

/// Accepts any value.
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Declares [`RawOptions`]: options of plain types, options in seconds, and options that Django,
/// redis-py and its connection pools accept and that have no effect here.
macro_rules! raw_options {
    (
        options { $($name:ident: $type:ty,)+ }
        seconds { $($seconds:ident,)+ }
        ignored { $($ignored:ident,)+ }
    ) => {
        /// Every option is optional, so that one that is `null` has its default.
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RawOptions {
            $($name: Option<$type>,)+
            $($seconds: Option<Seconds>,)+
            $($ignored: Option<Ignored>,)+
        }

        impl From<RawOptions> for RedisOptions {
            fn from(raw: RawOptions) -> Self {
                let mut options = Self::default();
                $(if let Some(value) = raw.$name {
                    options.$name = value.into();
                })+
                $(if let Some(Seconds(time)) = raw.$seconds {
                    options.$seconds = time;
                })+
                $(if raw.$ignored.is_some() {
                    options.without_effect.push(stringify!($ignored));
                })+
                options
            }
        }
    };
}

raw_options! {
    options {
        db: u32,
        username: String,
        password: String,
        socket_keepalive: bool,
        client_name: String,
        lib_name: String,
        lib_version: String,
        namespace: String,
        clear_database: bool,
        max_value_bytes: usize,
        cluster: bool,
        sentinel: String,
        sentinel_username: String,
        sentinel_password: String,
        ssl_ca_certs: PathBuf,
        ssl_ca_data: String,
        ssl_certfile: PathBuf,
        ssl_keyfile: PathBuf,
        ssl_cert_reqs: CertReqs,
        ssl_check_hostname: bool,
    }
    seconds {
        socket_timeout,
        socket_connect_timeout,
    }
    ignored {
        command_packer,
        connection_class,
        credential_provider,
        cull_frequency,
        decode_responses,
        encoding,
        encoding_errors,
        health_check_interval,
        max_connections,
        max_entries,
        parser_class,
        pool_class,
        protocol,
        queue_class,
        redis_connect_func,
        retry,
        retry_on_error,
        retry_on_timeout,
        serializer,
        socket_keepalive_options,
        socket_read_size,
        socket_type,
        ssl_ca_path,
        ssl_ciphers,
        ssl_include_verify_flags,
        ssl_exclude_verify_flags,
        ssl_min_version,
        ssl_ocsp_context,
        ssl_ocsp_expected_cert,
        ssl_password,
        ssl_validate_ocsp,
        ssl_validate_ocsp_stapled,
        timeout,
    }
}
