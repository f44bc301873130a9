//! `factum serve`: the server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::task::JoinHandle;

use super::client::chain;
use super::failure::EXIT_FAILED;
use super::failure::Failure;
use crate::config::Settings;
use crate::config::TelemetrySettings;
use crate::http::Tls;
use crate::server::Server;
use crate::server::ServerError;
use crate::telemetry;
use crate::telemetry::LogFormat;
use crate::telemetry::Outputs;
use crate::telemetry::otlp;
use crate::telemetry::traces;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  factum serve --data ./data\n  factum serve --data ./data --definitions ./definitions\n  factum serve --data ./data --listen 127.0.0.1:0 --log-format json\n  \
    FACTUM_LIMITS__BODY=128MiB factum serve --config /etc/factum.toml\n\n\
    Prints `factum ready on http://…` on stdout once it can answer; its log goes to stderr.\n\
    SIGTERM or SIGINT: finishes what is under way, flushes, exits 0. A second one ends it at once;\n\
    acknowledged events are safe either way."
)]
pub(crate) struct Arguments {
    /// The data directory; made if it is not there [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:4400]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The settings file; ./factum.toml is read if it is there.
    #[arg(long, value_name = "FILE", env = "FACTUM_CONFIG")]
    config: Option<PathBuf>,
    /// How many shards a new data directory gets [default: 1]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// By what a new data directory spreads streams over them [default: hash]
    #[arg(long, value_name = "hash|ring|range|geo")]
    strategy: Option<String>,
    /// A shard that another server has: once for each, in the order of their numbers from 1 on; shard 0 is this server's own.
    #[arg(long = "shard-url", value_name = "URL")]
    shard_urls: Vec<String>,
    /// A folder of definitions that are put in force before the server is ready, as `factum apply` takes it.
    #[arg(long, value_name = "DIR")]
    definitions: Option<String>,
    /// strict: acknowledged is on disk. relaxed: a power cut may lose what was acknowledged.
    #[arg(long, value_name = "strict|relaxed")]
    durability: Option<String>,
    /// How lines of the log look.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// Listen beyond loopback although anybody who reaches the address may read and write everything.
    #[arg(long)]
    insecure: bool,
}

impl Arguments {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let log_format = self.log_format.map(|format| match format {
            LogFormat::Pretty => "pretty".to_owned(),
            LogFormat::Json => "json".to_owned(),
        });
        let flags = [
            ("server.data", self.data.clone()),
            ("server.definitions", self.definitions.clone()),
            ("server.listen", self.listen.clone()),
            ("shards.count", self.shards.clone()),
            ("shards.strategy", self.strategy.clone()),
            ("shards.urls", (!self.shard_urls.is_empty()).then(|| self.shard_urls.join(","))),
            ("server.insecure", self.insecure.then(|| "true".to_owned())),
            ("storage.durability", self.durability.clone()),
            ("log.format", log_format),
        ];
        flags.into_iter().filter_map(|(name, text)| text.map(|text| (name, text))).collect()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = super::config::load(arguments.config.clone(), arguments.flags())?.settings;
    telemetry::install(settings.log.format, &settings.log.level)
        .map_err(|error| Failure::usage("the log cannot be set up").detail(error))?;
    install_telemetry(&settings.telemetry)?;
    let runtime = super::server_runtime()?;
    let served = runtime.block_on(serve(settings));
    // Whatever still runs (an open that was interrupted, say) has nothing to lose: only commits count, and they are answered.
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    served
}

fn install_telemetry(settings: &TelemetrySettings) -> Result<(), Failure> {
    if settings.metrics {
        telemetry::metrics::install().map_err(|error| Failure::usage("measurements cannot be kept").detail(error))?;
    }
    let traces = traces::Options { sample_of_a_million: settings.sample_of_a_million, slow: settings.slow };
    let (protocol, signals) = (settings.otlp_protocol, settings.otlp_signals.clone());
    let otlp = settings.otlp_endpoint.clone().map(|endpoint| otlp::Options { endpoint, protocol, signals });
    #[cfg(not(feature = "analytics"))]
    if settings.lake {
        return Err(Failure::usage("telemetry.lake cannot be turned on").detail("this program was built without SQL and Parquet"));
    }
    let outputs = Outputs {
        traces,
        otlp,
        #[cfg(feature = "analytics")]
        lake: settings.lake,
    };
    let installed = telemetry::install_outputs(&outputs);
    installed.map_err(|error| Failure::usage("traces and logs cannot be sent").detail(error))
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        opened = Server::open(settings) => opened.map_err(|error| told(&error))?,
        () = signals.next() => {
            tracing::info!("stopped while opening");
            return Ok(ExitCode::SUCCESS);
        }
    };
    announce(&server)?;
    let certificates = server.tls().cloned().map(follow_hangups).transpose()?;
    let ended = server.run(signals.stop()).await;
    if let Some(following) = certificates {
        following.abort();
    }
    ended.map_err(|error| told(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// The one line on stdout: whoever started the server may now ask it.
fn announce(server: &Server) -> Result<(), Failure> {
    let scheme = if server.tls().is_some() { "https" } else { "http" };
    let line = format!("factum ready on {scheme}://{}\n", server.address());
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    // A server whose stdout nobody reads is still a server.
    written.or_else(|error| if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    tracing::info!(address = %server.address(), "ready");
    Ok(())
}

/// At each SIGHUP, reads the certificate again. Without one the signal ends the process, as it does where nobody says otherwise.
fn follow_hangups(tls: Tls) -> Result<JoinHandle<()>, Failure> {
    let mut hangups =
        signal(SignalKind::hangup()).map_err(|error| Failure::failed("signals cannot be handled").detail(error.to_string()))?;
    Ok(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let tls = tls.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(())) => tracing::info!("the certificate was read again"),
                Ok(Err(fault)) => tracing::error!(%fault, "the certificate cannot be read again: the one before is in force still"),
                Err(error) => tracing::error!(%error, "reading the certificate again has failed"),
            }
        }
    }))
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let install = |kind| signal(kind).map_err(|error| Failure::failed("signals cannot be handled").detail(error.to_string()));
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Is done with the first signal; a second one ends the process at once.
    pub(crate) async fn stop(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("second signal: ending at once");
            std::process::exit(i32::from(EXIT_FAILED));
        });
    }
}

/// What a server's trouble means to whoever started it.
pub(crate) fn told(error: &ServerError) -> Failure {
    let cause = std::error::Error::source(error).map(chain);
    let failure = Failure::failed(error.to_string());
    let failure = match cause {
        Some(cause) => failure.detail(cause),
        None => failure,
    };
    match error {
        ServerError::Insecure(_) => failure
            .detail("anybody who reaches it could read and write everything")
            .next("listen on 127.0.0.1, or turn authentication on (auth.enabled), or say --insecure if the network around it is closed"),
        ServerError::Tls(_) => failure.next("name files in PEM that belong together in tls.certificate and tls.key (and tls.client_ca)"),
        ServerError::HalfTls(_, other) => failure.next(format!("set {other} as well")),
        ServerError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            failure.next("stop what uses the port, or choose another with --listen (127.0.0.1:0 takes a free one)")
        }
        ServerError::Listen { .. } => failure.next("choose another address with --listen"),
        // It says itself who has the directory, and what to do.
        ServerError::Open { source: crate::Error::Storage(factum_storage::Error::Locked { .. }), .. } => failure,
        ServerError::Open { source: crate::Error::Invalid { .. }, .. } => {
            failure.next("correct the setting or the flag; `factum config` prints what holds and where it comes from")
        }
        ServerError::Open { data, .. } => failure.next(format!("if it is damaged, `factum verify {data}` says where")),
        ServerError::Auth(_) => failure.next("correct the setting or the file; `factum config` prints what holds and where it comes from"),
        ServerError::Definitions(_) => failure.next("correct the definition and start again; what was in force before still is"),
        ServerError::Poisoned { .. } => failure.next("look at the disk, then start the server again: it finds out what is on it"),
        ServerError::Http(_) | ServerError::Close(_) => failure,
    }
}

const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);
