//! Which settings are there? One line for each; everything else is made from it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::Durability;
use super::ExportSettings;
use super::LimitSettings;
use super::LogSettings;
use super::QuotaSettings;
use super::ScriptSettings;
use super::Secret;
use super::ServerSettings;
use super::Settings;
use super::ShardSettings;
use super::SigningAlgorithm;
use super::SqlSettings;
use super::StorageSettings;
use super::TelemetrySettings;
use super::TlsSettings;
use super::auth;
use super::issuers;
use super::quotas;
use super::shards;
use super::value;
use crate::telemetry::LogFormat;
use crate::telemetry::logs;
use crate::telemetry::otlp::Protocol;
use crate::telemetry::otlp::Signal;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The section of `factum.toml`.
    pub section: &'static str,
    /// The key within it.
    pub key: &'static str,
    /// The built-in value, as it would be written.
    pub default: &'static str,
    /// What a value looks like.
    pub form: &'static str,
    /// The flag of `factum serve` that sets it.
    pub flag: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
    pub(super) apply: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// `section.key`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("FACTUM_{}__{}", self.section.replace('.', "__"), self.key).to_uppercase()
    }

    /// Whether its value is shown to nobody.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        (self.section, self.key) == ("auth", "key")
    }
}

/// All settings, section by section.
pub const SETTINGS: &[Setting] = &[
    Setting {
        section: "server",
        key: "listen",
        default: "127.0.0.1:4400",
        form: "address:port",
        flag: Some("--listen"),
        help: "Where the server listens. Port 0 takes a free one.",
        apply: |settings, text| value::address(text).map(|address| settings.server.listen = address),
    },
    Setting {
        section: "server",
        key: "data",
        default: "./data",
        form: "path",
        flag: Some("--data"),
        help: "The data directory; made if it is not there.",
        apply: |settings, text| {
            if text.is_empty() {
                return Err("must name a directory".into());
            }
            settings.server.data = PathBuf::from(text);
            Ok(())
        },
    },
    Setting {
        section: "server",
        key: "definitions",
        default: "none",
        form: "path or none",
        flag: Some("--definitions"),
        help: "A folder of definitions, as `factum apply` takes it, that is put in force before the server is ready.",
        apply: |settings, text| {
            if text.is_empty() {
                return Err("must name a folder, or none".into());
            }
            settings.server.definitions = (text != "none").then(|| PathBuf::from(text));
            Ok(())
        },
    },
    Setting {
        section: "server",
        key: "insecure",
        default: "false",
        form: "true or false",
        flag: Some("--insecure"),
        help: "Allows an address other than loopback although anybody who reaches it may read and write everything.",
        apply: |settings, text| value::truth(text).map(|truth| settings.server.insecure = truth),
    },
    Setting {
        section: "server",
        key: "shutdown_timeout",
        default: "10s",
        form: "time",
        flag: None,
        help: "How long requests under way may take after SIGTERM or SIGINT. Acknowledged events are safe whatever it is.",
        apply: |settings, text| value::duration_within(text, MILLISECOND, HOUR).map(|duration| settings.server.shutdown_timeout = duration),
    },
    Setting {
        section: "shards",
        key: "count",
        default: "auto",
        form: "number or auto",
        flag: Some("--shards"),
        help: "How many shards a new data directory gets. An existing one keeps what it has, another number is an error; auto takes that, and for a new one what the strategy is given, else 1.",
        apply: |settings, text| {
            settings.shards.count = match text {
                "auto" => None,
                number => Some(narrow(value::number_within(number, 1, SHARDS_MAX)?)?),
            };
            Ok(())
        },
    },
    Setting {
        section: "shards",
        key: "strategy",
        default: "auto",
        form: "hash, ring, range, geo or auto",
        flag: Some("--strategy"),
        help: "By what a new data directory spreads streams: hash and ring by a hash of their partition key, range by its order, geo by the region that it belongs to. An existing one keeps what it has, another one is an error; auto takes that, and hash for a new one.",
        apply: |settings, text| shards::strategy(text).map(|strategy| settings.shards.strategy = strategy),
    },
    Setting {
        section: "shards",
        key: "weights",
        default: "none",
        form: "list of numbers, or none",
        flag: None,
        help: "With ring: what share each shard has, such as 2,1,1; from 1 to 100. None: all have the same.",
        apply: |settings, text| shards::weights(text).map(|weights| settings.shards.weights = weights),
    },
    Setting {
        section: "shards",
        key: "splits",
        default: "none",
        form: "list of keys, or none",
        flag: None,
        help: "With range: the first key of each shard but the first when the data directory is made, in ascending order of their bytes, such as g,n,t for four shards. They stay right when ranges have moved since.",
        apply: |settings, text| shards::splits(text).map(|splits| settings.shards.splits = splits),
    },
    Setting {
        section: "shards",
        key: "regions",
        default: "none",
        form: "tables",
        flag: None,
        help: "With geo: the regions, one table `[[shards.regions]]` each: `name`, `shards` (an array of numbers, no shard in two regions) and `keys` (an array of patterns of partition keys; `*` is any text). The first region with a pattern that matches has the key.",
        apply: |settings, text| shards::regions(text).map(|regions| settings.shards.regions = regions),
    },
    Setting {
        section: "shards",
        key: "default_region",
        default: "none",
        form: "name or none",
        flag: None,
        help: "With geo: where keys go that belong to no region. None: nowhere, what would write such a stream is refused.",
        apply: |settings, text| shards::region(text).map(|region| settings.shards.default_region = region),
    },
    Setting {
        section: "shards",
        key: "urls",
        default: "none",
        form: "list of addresses, or none",
        flag: Some("--shard-url"),
        help: "Shards that other servers have: the address of shard 1, of shard 2 and so forth, such as http://10.0.0.2:4400; shard 0 is this server's own. Each is a Factum server with one shard that nobody else writes to. A data directory that was made with some needs as many at every start; an address may change, the log at it may not.",
        apply: |settings, text| shards::urls(text).map(|urls| settings.shards.urls = urls),
    },
    Setting {
        section: "shards",
        key: "token_file",
        default: "none",
        form: "path or none",
        flag: None,
        help: "A file with the access token that shards elsewhere are asked with. It has to be for everything there. Read again when it does not count any more.",
        apply: |settings, text| {
            settings.shards.token_file = Some(text).filter(|text| *text != "none").map(Into::into);
            Ok(())
        },
    },
    Setting {
        section: "shards",
        key: "timeout",
        default: "10s",
        form: "time",
        flag: None,
        help: "How long a call of a shard elsewhere may take. One that takes longer is answered 503, with the outcome unknown if it was to write.",
        apply: |settings, text| {
            value::duration_within(text, 10 * MILLISECOND, HOUR).map(|duration| settings.shards.timeout = Some(duration))
        },
    },
    Setting {
        section: "shards",
        key: "split_above_events",
        default: "none",
        form: "number or none",
        flag: None,
        help: "With range: a range with more events than this is split by itself at the key that halves it, and a new shard takes the upper half. None: ranges are split when somebody asks for it.",
        apply: |settings, text| shards::limit(text).map(|limit| settings.shards.split_above_events = limit),
    },
    Setting {
        section: "shards",
        key: "split_above_appends_per_second",
        default: "none",
        form: "number or none",
        flag: None,
        help: "With range: a range that more events a second than this are appended to, between two looks, is split by itself at the key that halves the newest of them.",
        apply: |settings, text| shards::limit(text).map(|limit| settings.shards.split_above_appends_per_second = limit),
    },
    Setting {
        section: "shards",
        key: "max_shards",
        default: "16",
        form: "number",
        flag: None,
        help: "No shard is added by itself when there are so many, drained ones included. Somebody who asks may add more.",
        apply: |settings, text| {
            settings.shards.max_shards = narrow(value::number_within(text, 1, SHARDS_MAX)?)?;
            Ok(())
        },
    },
    Setting {
        section: "shards",
        key: "split_check_interval",
        default: "10s",
        form: "time",
        flag: None,
        help: "How often it is looked whether a range has to be split by itself.",
        apply: |settings, text| {
            value::duration_within(text, MILLISECOND, HOUR).map(|interval| settings.shards.split_check_interval = interval)
        },
    },
    Setting {
        section: "tls",
        key: "certificate",
        default: "none",
        form: "path or none",
        flag: None,
        help: "The server's certificate in PEM, followed by those between it and its authority; with it, the port speaks TLS 1.2 and 1.3 only. Read again at SIGHUP.",
        apply: |settings, text| file(text).map(|file| settings.tls.certificate = file),
    },
    Setting {
        section: "tls",
        key: "key",
        default: "none",
        form: "path or none",
        flag: None,
        help: "The certificate's private key in PEM, not encrypted. Read again at SIGHUP.",
        apply: |settings, text| file(text).map(|file| settings.tls.key = file),
    },
    Setting {
        section: "tls",
        key: "client_ca",
        default: "none",
        form: "path or none",
        flag: None,
        help: "Authorities in PEM: a client must show a certificate that one of them has signed. Who has one may do everything, from any address.",
        apply: |settings, text| file(text).map(|file| settings.tls.client_ca = file),
    },
    Setting {
        section: "auth",
        key: "enabled",
        default: "false",
        form: "true or false",
        flag: None,
        help: "Whether requests need a token. Without it everybody who reaches the server may do everything.",
        apply: |settings, text| value::truth(text).map(|truth| settings.auth.enabled = truth),
    },
    Setting {
        section: "auth",
        key: "issuer",
        default: "auto",
        form: "url or auto",
        flag: None,
        help: "`iss` of the tokens that this server issues, and the address at which clients reach it; auto is `http://` (`https://` with a certificate) and `server.listen`.",
        apply: |settings, text| {
            settings.auth.issuer = if text == "auto" { None } else { Some(auth::name(text)?) };
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "audience",
        default: "factum",
        form: "text",
        flag: None,
        help: "`aud` of the tokens that this server issues, and of those that are signed with the shared secret.",
        apply: |settings, text| auth::name(text).map(|name| settings.auth.audience = name),
    },
    Setting {
        section: "auth",
        key: "bootstrap_client_id",
        default: "none",
        form: "name or none",
        flag: None,
        help: "A client with every scope that is there before anybody has made one.",
        apply: |settings, text| {
            settings.auth.bootstrap_client_id = auth::optional(text)?.map(auth::name).transpose()?;
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "bootstrap_client_secret_file",
        default: "none",
        form: "path or none",
        flag: None,
        help: "The file that holds the secret of that client: at least 16 characters, white space around them does not count.",
        apply: |settings, text| {
            settings.auth.bootstrap_client_secret_file = auth::optional(text)?.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "token_ttl",
        default: "1h",
        form: "time",
        flag: None,
        help: "How long an access token of this server counts.",
        apply: |settings, text| value::duration_within(text, SECOND, 30 * 24 * HOUR).map(|duration| settings.auth.token_ttl = duration),
    },
    Setting {
        section: "auth",
        key: "refresh_ttl",
        default: "30d",
        form: "time or none",
        flag: None,
        help: "How long a refresh token counts, from its last use on; none: there are none.",
        apply: |settings, text| {
            let text = auth::optional(text)?;
            settings.auth.refresh_ttl = text.map(|text| value::duration_within(text, SECOND, 366 * 24 * HOUR)).transpose()?;
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "algorithm",
        default: "ES256",
        form: "RS256, ES256 or EdDSA",
        flag: None,
        help: "What new keys sign with. Another one here is a rotation at the next start.",
        apply: |settings, text| {
            settings.auth.algorithm = SigningAlgorithm::parse(text).ok_or("must be RS256, ES256 or EdDSA")?;
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "key",
        default: "none",
        form: "text or none",
        flag: None,
        help: "At least 32 characters that encrypt the private keys in the data directory. Better in the environment, or in `key_file`.",
        apply: |settings, text| {
            settings.auth.key = auth::optional(text)?.map(Secret::new);
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "key_file",
        default: "none",
        form: "path or none",
        flag: None,
        help: "The file that holds them. Without both, a key is made beside the private keys, and protects them from who gets hold of their file alone.",
        apply: |settings, text| {
            settings.auth.key_file = auth::optional(text)?.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "rotate_every",
        default: "90d",
        form: "time or none",
        flag: None,
        help: "After so long another key signs; none: only by `POST /v1/keys/rotate`. What the one before has signed counts until it expires.",
        apply: |settings, text| {
            let text = auth::optional(text)?;
            settings.auth.rotate_every = text.map(|text| value::duration_within(text, MINUTE, 3_660 * 24 * HOUR)).transpose()?;
            Ok(())
        },
    },
    Setting {
        section: "auth",
        key: "issuers",
        default: "none",
        form: "tables",
        flag: None,
        help: "Others whose tokens are let in, one table `[[auth.issuers]]` each: `issuer` (`iss`), `audience` (`aud`), `jwks_url` (https), and `algorithms` if not all of RS256, ES256 and EdDSA. `loopback_http = true` allows http to this machine.",
        apply: |settings, text| issuers::parse(text).map(|issuers| settings.auth.issuers = issuers),
    },
    Setting {
        section: "auth.shared_secret",
        key: "file",
        default: "none",
        form: "path or none",
        flag: None,
        help: "The file that holds a secret of at least 32 bytes; tokens that are signed with it (HS256) are let in. White space around it does not count.",
        apply: |settings, text| {
            settings.auth.shared_secret.file = auth::optional(text)?.map(PathBuf::from);
            Ok(())
        },
    },
    Setting {
        section: "auth.shared_secret",
        key: "issuer",
        default: "shared-secret",
        form: "text",
        flag: None,
        help: "`iss` of such tokens; their `aud` is `auth.audience`.",
        apply: |settings, text| auth::name(text).map(|name| settings.auth.shared_secret.issuer = name),
    },
    Setting {
        section: "limits",
        key: "body",
        default: "16MiB",
        form: "size",
        flag: None,
        help: "Most bytes of a request's body after decompression; more is answered 413. Imports are streamed and not bound by it.",
        apply: |settings, text| value::bytes_within(text, KIB, GIB).map(|bytes| settings.limits.body = bytes),
    },
    Setting {
        section: "limits",
        key: "event",
        default: "1MiB",
        form: "size",
        flag: None,
        help: "Most bytes of one event's data and metadata together; at most 16MiB.",
        apply: |settings, text| value::bytes_within(text, KIB, 16 * MIB).map(|bytes| settings.limits.event = bytes),
    },
    Setting {
        section: "limits",
        key: "batch_events",
        default: "10000",
        form: "number",
        flag: None,
        help: "Most events of one append or transaction.",
        apply: |settings, text| narrow(value::number_within(text, 1, 100_000)?).map(|count| settings.limits.batch_events = count),
    },
    Setting {
        section: "limits",
        key: "connections",
        default: "10000",
        form: "number",
        flag: None,
        help: "Most connections at once; further ones wait until one is closed.",
        apply: |settings, text| narrow(value::number_within(text, 1, 1_000_000)?).map(|count| settings.limits.connections = count),
    },
    Setting {
        section: "limits",
        key: "header_read_timeout",
        default: "30s",
        form: "time",
        flag: None,
        help: "How long a client may take to send a request's head; then the connection is closed.",
        apply: |settings, text| {
            value::duration_within(text, MILLISECOND, HOUR).map(|duration| settings.limits.header_read_timeout = duration)
        },
    },
    Setting {
        section: "limits",
        key: "body_read_timeout",
        default: "15s",
        form: "time",
        flag: None,
        help: "How long a client may pause while it sends a body; then the request ends.",
        apply: |settings, text| {
            value::duration_within(text, MILLISECOND, HOUR).map(|duration| settings.limits.body_read_timeout = duration)
        },
    },
    Setting {
        section: "quotas",
        key: "requests_per_second",
        default: "none",
        form: "number or none",
        flag: None,
        help: "Most requests a second of one client, on average; a second's requests may come at once. More are answered 429 with `Retry-After`. A client is who its tokens are for (`client_id`, else `sub`): without authentication there are no quotas.",
        apply: |settings, text| quotas::quota(text).map(|quota| settings.quotas.requests_per_second = quota),
    },
    Setting {
        section: "quotas",
        key: "requests_at_once",
        default: "none",
        form: "number or none",
        flag: None,
        help: "Most requests of one client under way at once, its feeds and consumers among them.",
        apply: |settings, text| quotas::quota(text).map(|quota| settings.quotas.requests_at_once = quota),
    },
    Setting {
        section: "quotas",
        key: "queries_at_once",
        default: "none",
        form: "number or none",
        flag: None,
        help: "Most queries in SQL of one client under way at once: fewer than `sql.queries`, so that one client can't take all the room there is.",
        apply: |settings, text| quotas::quota(text).map(|quota| settings.quotas.queries_at_once = quota),
    },
    Setting {
        section: "storage",
        key: "durability",
        default: "strict",
        form: "strict or relaxed",
        flag: Some("--durability"),
        help: "strict: what is acknowledged is on disk. relaxed: it is with the operating system, and a power cut may lose it.",
        apply: |settings, text| {
            settings.storage.durability = match text {
                "strict" => Durability::Strict,
                "relaxed" => Durability::Relaxed,
                _ => return Err("must be strict or relaxed".into()),
            };
            Ok(())
        },
    },
    Setting {
        section: "storage",
        key: "segment",
        default: "64MiB",
        form: "size",
        flag: None,
        help: "Bytes of a segment file of the log. Segments are written with zeros ahead of need, so this much disk is taken early.",
        apply: |settings, text| value::bytes_within(text, MIB, 4 * GIB - 1).map(|bytes| settings.storage.segment = bytes),
    },
    Setting {
        section: "storage",
        key: "index_flush_events",
        default: "100000",
        form: "number",
        flag: None,
        help: "The index file is written when it is so many events behind the log; after a crash so many are read again.",
        apply: |settings, text| value::number_within(text, 1_000, 10_000_000).map(|count| settings.storage.index_flush_events = count),
    },
    Setting {
        section: "storage",
        key: "index_cache",
        default: "64MiB",
        form: "size",
        flag: None,
        help: "Memory for pages of the index file, for each shard.",
        apply: |settings, text| value::bytes_within(text, MIB, 64 * GIB).map(|bytes| settings.storage.index_cache = bytes),
    },
    Setting {
        section: "storage",
        key: "aggregate_cache",
        default: "64MiB",
        form: "size",
        flag: None,
        help: "Memory for the states of aggregates that were asked for lately.",
        apply: |settings, text| value::bytes_within(text, 0, 64 * GIB).map(|bytes| settings.storage.aggregate_cache = bytes),
    },
    Setting {
        section: "scripts",
        key: "memory",
        default: "64MiB",
        form: "size",
        flag: None,
        help: "Memory that one call of a definition's function may use; a call that needs more fails.",
        apply: |settings, text| value::bytes_within(text, MIB, GIB).map(|bytes| settings.scripts.memory = bytes),
    },
    Setting {
        section: "scripts",
        key: "time",
        default: "250ms",
        form: "time",
        flag: None,
        help: "How long one call of a definition's function may take; a call that takes longer fails.",
        apply: |settings, text| value::duration_within(text, MILLISECOND, MINUTE).map(|duration| settings.scripts.time = duration),
    },
    Setting {
        section: "scripts",
        key: "threads",
        default: "auto",
        form: "number or auto",
        flag: None,
        help: "How many calls of definitions' functions run at once; auto takes one for each core. None is started before it is needed.",
        apply: |settings, text| {
            settings.scripts.threads = match text {
                "auto" => None,
                number => Some(narrow(value::number_within(number, 1, 1_024)?)?),
            };
            Ok(())
        },
    },
    Setting {
        section: "exports",
        key: "allow",
        default: "none",
        form: "urls, or none",
        flag: None,
        help: "Where exports may put files beside parquet/ in the data directory: urls with commas between them that theirs may be or begin with, such as file:///srv/lake, s3://bucket/lake. file:/// stands for every folder, s3:// for every bucket.",
        apply: |settings, text| {
            let urls = if text == "none" { Vec::new() } else { text.split(',').map(|url| url.trim().to_owned()).collect() };
            if let Some(url) = urls.iter().find(|url: &&String| !url.starts_with("file:///") && !url.starts_with("s3://")) {
                return Err(format!("{url:?} must begin with file:/// or s3://"));
            }
            settings.exports.allow = urls;
            Ok(())
        },
    },
    Setting {
        section: "sql",
        key: "memory",
        default: "512MiB",
        form: "size",
        flag: None,
        help: "Memory that all queries together may use. What sorts, groups and joins goes to the disk when it does not suffice, as far as that goes.",
        apply: |settings, text| value::bytes_within(text, 16 * MIB, 1024 * GIB).map(|bytes| settings.sql.memory = bytes),
    },
    Setting {
        section: "sql",
        key: "spill",
        default: "8GiB",
        form: "size",
        flag: None,
        help: "Disk that all queries together may use below the data directory for what does not fit into memory; 0 is none.",
        apply: |settings, text| value::bytes_within(text, 0, 1024 * GIB).map(|bytes| settings.sql.spill = bytes),
    },
    Setting {
        section: "sql",
        key: "time",
        default: "1min",
        form: "time",
        flag: None,
        help: "How long one query may work. Time in which the client reads the answer does not count.",
        apply: |settings, text| value::duration_within(text, 10 * MILLISECOND, HOUR).map(|duration| settings.sql.time = duration),
    },
    Setting {
        section: "sql",
        key: "rows",
        default: "10_000_000",
        form: "number",
        flag: None,
        help: "Most rows of one answer.",
        apply: |settings, text| value::number_within(text, 1, u64::MAX).map(|rows| settings.sql.rows = rows),
    },
    Setting {
        section: "sql",
        key: "queries",
        default: "4",
        form: "number",
        flag: None,
        help: "How many queries run at once; others wait for their turn.",
        apply: |settings, text| narrow(value::number_within(text, 1, 1_024)?).map(|count| settings.sql.queries = count),
    },
    Setting {
        section: "sql",
        key: "queue",
        default: "16",
        form: "number",
        flag: None,
        help: "How many queries wait for their turn; more are answered 429.",
        apply: |settings, text| narrow(value::number_within(text, 0, 100_000)?).map(|count| settings.sql.queue = count),
    },
    Setting {
        section: "sql",
        key: "threads",
        default: "auto",
        form: "number or auto",
        flag: None,
        help: "How many threads work on one query, all of lower priority than the others; auto takes one for each core. None is started before the first query.",
        apply: |settings, text| {
            settings.sql.threads = match text {
                "auto" => None,
                number => Some(narrow(value::number_within(number, 1, 1_024)?)?),
            };
            Ok(())
        },
    },
    Setting {
        section: "log",
        key: "format",
        default: "pretty",
        form: "pretty or json",
        flag: Some("--log-format"),
        help: "How lines of the log look. They go to stderr.",
        apply: |settings, text| {
            settings.log.format = LogFormat::from_str(text, false).map_err(|_| "must be pretty or json".to_owned())?;
            Ok(())
        },
    },
    Setting {
        section: "log",
        key: "level",
        default: "info",
        form: "level or directives",
        flag: None,
        help: "What is logged: error, warn, info, debug, trace, or directives such as info,factum=debug. FACTUM_LOG is the short form.",
        apply: |settings, text| {
            logs::parse(text)?;
            text.clone_into(&mut settings.log.level);
            Ok(())
        },
    },
    Setting {
        section: "telemetry",
        key: "metrics",
        default: "true",
        form: "true or false",
        flag: None,
        help: "Whether measurements are kept for GET /metrics.",
        apply: |settings, text| value::truth(text).map(|truth| settings.telemetry.metrics = truth),
    },
    Setting {
        section: "telemetry",
        key: "otlp_endpoint",
        default: "none",
        form: "url, or none",
        flag: None,
        help: "A collector that is told by OTLP, such as http://127.0.0.1:4318. Without a port, that of the protocol is taken: 4317 for grpc, 4318 for the others. One at https:// is held to the system's authorities, and has 443; no credentials are sent.",
        apply: |settings, text| {
            settings.telemetry.otlp_endpoint = match text {
                "none" => None,
                url => Some(value::http_url(url)?),
            };
            Ok(())
        },
    },
    Setting {
        section: "telemetry",
        key: "otlp_protocol",
        default: "http/protobuf",
        form: "grpc, http/protobuf or http/json",
        flag: None,
        help: "How the collector is spoken to. With the two over HTTP, /v1/traces, /v1/metrics and /v1/logs are put behind the endpoint.",
        apply: |settings, text| {
            let protocol = Protocol::of_text(text).ok_or("must be grpc, http/protobuf or http/json")?;
            settings.telemetry.otlp_protocol = protocol;
            Ok(())
        },
    },
    Setting {
        section: "telemetry",
        key: "otlp_signals",
        default: "traces,metrics,logs",
        form: "names with commas between them",
        flag: None,
        help: "What the collector is told: some of traces, metrics and logs. Metrics are those of GET /metrics, logs the lines that go to stderr.",
        apply: |settings, text| {
            let known = |name: &str| [Signal::Traces, Signal::Metrics, Signal::Logs].into_iter().find(|signal| signal.as_str() == name);
            let signals: Option<Vec<Signal>> = text.split(',').map(|name| known(name.trim())).collect();
            settings.telemetry.otlp_signals = signals.ok_or("must be some of traces, metrics and logs, with commas between them")?;
            Ok(())
        },
    },
    Setting {
        section: "telemetry",
        key: "otlp_interval",
        default: "1min",
        form: "time",
        flag: None,
        help: "How often the collector is told the metrics.",
        apply: |settings, text| {
            value::duration_within(text, 100 * MILLISECOND, HOUR).map(|duration| settings.telemetry.otlp_interval = duration)
        },
    },
    Setting {
        section: "telemetry",
        key: "sample",
        default: "0.01",
        form: "number from 0 to 1",
        flag: None,
        help: "The share of requests that become a trace. What a request's traceparent says goes before, and those that fail inside or are slow always do.",
        apply: |settings, text| value::millionths(text).map(|count| settings.telemetry.sample_of_a_million = count),
    },
    Setting {
        section: "telemetry",
        key: "slow",
        default: "1s",
        form: "time",
        flag: None,
        help: "A request that takes longer to its answer always becomes a trace.",
        apply: |settings, text| value::duration_within(text, MILLISECOND, HOUR).map(|duration| settings.telemetry.slow = duration),
    },
    Setting {
        section: "telemetry",
        key: "lake",
        default: "false",
        form: "true or false",
        flag: None,
        help: "Whether lines of the log and spans of traces are also written as Parquet files, into telemetry/ in the data directory, and can be asked for in SQL as logs and spans.",
        apply: |settings, text| value::truth(text).map(|truth| settings.telemetry.lake = truth),
    },
    Setting {
        section: "telemetry",
        key: "lake_interval",
        default: "5s",
        form: "time",
        flag: None,
        help: "They are in a file within this time.",
        apply: |settings, text| {
            value::duration_within(text, 100 * MILLISECOND, HOUR).map(|duration| settings.telemetry.lake_interval = duration)
        },
    },
    Setting {
        section: "telemetry",
        key: "lake_keep",
        default: "7d",
        form: "time",
        flag: None,
        help: "Files of them are removed when all in them is older.",
        apply: |settings, text| {
            value::duration_within(text, MINUTE, 3_660 * 24 * HOUR).map(|duration| settings.telemetry.lake_keep = duration)
        },
    },
    Setting {
        section: "telemetry",
        key: "lake_bytes",
        default: "1GiB",
        form: "size",
        flag: None,
        help: "Most bytes of these files, half of it for logs and half for spans; the oldest are removed first.",
        apply: |settings, text| value::bytes_within(text, 64 * MIB, 1024 * GIB).map(|bytes| settings.telemetry.lake_bytes = bytes),
    },
];

/// Settings before any line of the table was applied; every field is overwritten.
pub(super) fn blank() -> Settings {
    Settings {
        server: ServerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: PathBuf::new(),
            definitions: None,
            insecure: false,
            shutdown_timeout: Duration::ZERO,
        },
        shards: ShardSettings::default(),
        tls: TlsSettings::default(),
        auth: auth::blank(),
        quotas: QuotaSettings::default(),
        limits: LimitSettings {
            body: 0,
            event: 0,
            batch_events: 0,
            connections: 0,
            header_read_timeout: Duration::ZERO,
            body_read_timeout: Duration::ZERO,
        },
        storage: StorageSettings { durability: Durability::Strict, segment: 0, index_flush_events: 0, index_cache: 0, aggregate_cache: 0 },
        scripts: ScriptSettings { memory: 0, time: Duration::ZERO, threads: None },
        sql: SqlSettings { memory: 0, spill: 0, time: Duration::ZERO, rows: 0, queries: 0, queue: 0, threads: None },
        exports: ExportSettings { allow: Vec::new() },
        log: LogSettings { format: LogFormat::Pretty, level: String::new() },
        telemetry: TelemetrySettings {
            metrics: true,
            otlp_endpoint: None,
            otlp_protocol: Protocol::HttpProtobuf,
            otlp_signals: Vec::new(),
            otlp_interval: Duration::ZERO,
            sample_of_a_million: 0,
            slow: Duration::ZERO,
            lake: false,
            lake_interval: Duration::ZERO,
            lake_keep: Duration::ZERO,
            lake_bytes: 0,
        },
    }
}

fn file(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "" => Err("must name a file, or none".into()),
        "none" => Ok(None),
        name => Ok(Some(PathBuf::from(name))),
    }
}

fn narrow<T: TryFrom<u64>>(number: u64) -> Result<T, String> {
    T::try_from(number).map_err(|_| "is too large".into())
}

const SHARDS_MAX: u64 = 256;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
