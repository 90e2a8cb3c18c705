//! `trustsync simulate`: the vendor's API on this machine, for tests and drills, until interrupted.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::simulator::control::{Control, ControlError, OffsetClock};
use crate::simulator::failure::{Endpoint, Failure, Mode};
use crate::simulator::folder::{Folder, FolderError};
use crate::simulator::pem_form::PemForm;
use crate::simulator::vendor::{Vendor, VendorError};
use crate::simulator::world::VendorOptions;

/// How often the files follow what the clock alone changed.
const REFRESH: Duration = Duration::from_secs(60);

/// Serve a Genesys-like API with its own PKI, for tests and drills.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Where the API listens (HTTPS); port 0 takes any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the control endpoint listens (plain HTTP, loopback only); port 0 takes any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub control: SocketAddr,
    /// The folder for its certificates, keys and a ready trustsync.toml; new, empty, or of an earlier run.
    #[arg(long, value_name = "DIR", default_value = "trustsync-simulator")]
    pub folder: PathBuf,
    /// The AWS region.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// The name in the vendor's client certificate.
    #[arg(long, value_name = "NAME", default_value = "dataactions.prod.us-east-1.mypurecloud.com")]
    pub certificate_name: String,
    /// The life of a DigiCert leaf.
    #[arg(long, value_name = "DAYS", default_value_t = 397, value_parser = clap::value_parser!(u32).range(2..=3_650))]
    pub lifetime: u32,
    /// How many days the first Current has left.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=3_650))]
    pub days_left: Option<u32>,
    /// What an unfiltered listing shows: lists-all, current-only-unless-asked.
    #[arg(long, value_name = "MODE", default_value_t)]
    pub mode: Mode,
    /// How certificates are written: vendor, canonical, crlf, long-lines, root-first.
    #[arg(long, value_name = "FORM", default_value_t)]
    pub pem: PemForm,
    /// List no Genesys leaf.
    #[arg(long)]
    pub no_genesys: bool,
    /// Promote no Upcoming by the clock, only by POST /rotate.
    #[arg(long)]
    pub rotate_by_hand: bool,
    /// Fail in this way on the listing from the start (repeatable); GET / of the control endpoint lists them.
    #[arg(long, value_name = "FAILURE")]
    pub fail: Vec<Failure>,
    /// Another name for the API's HTTPS certificate (repeatable).
    #[arg(long, value_name = "NAME")]
    pub tls_name: Vec<String>,
}

/// The simulator could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The API.
    #[error(transparent)]
    Vendor(#[from] VendorError),
    /// The control endpoint.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The files.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Output or signals.
    #[error("the simulator cannot go on: {0}")]
    Io(#[from] io::Error),
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: SimulateArgs) -> Result<(), SimulateError> {
    let clock = OffsetClock::default();
    let day = crate::simulator::pki::DAY;
    let mut options = VendorOptions::new(Arc::new(clock.clone()));
    options.listen = args.listen;
    options.region = args.region;
    options.certificate_name = args.certificate_name;
    options.certificate_lifetime = day.saturating_mul(args.lifetime);
    options.days_left = args.days_left;
    options.mode = args.mode;
    options.pem = args.pem;
    options.genesys = !args.no_genesys;
    options.tls_names = args.tls_name;
    if args.rotate_by_hand {
        options.rotate_at_days_left = None;
    }
    // Before anything is announced, so that whoever waits for the announcement may signal at once.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let vendor = Vendor::start(options).await?;
    for failure in args.fail {
        vendor.world().fail(failure, Endpoint::Listing, None);
    }
    let folder = Folder::create(&args.folder, &vendor)?;
    let control = Control::start(args.control, &vendor, Some(clock), Some(folder.clone())).await?;
    let announced = format!(
        "The simulated vendor serves {api}\n\
         Its control endpoint is      {control}/   (curl it to see the state and the commands)\n\
         Its certificates lie in      {folder}\n\n\
         Try:  trustsync sync --config {configuration}\n\
         Stop: Ctrl-C\n",
        api = vendor.api_url(),
        control = control.url(),
        folder = folder.path().display(),
        configuration = folder.configuration().display(),
    );
    let mut output = io::stdout();
    output.write_all(announced.as_bytes())?;
    output.flush()?;
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            // All three arms are cancel-safe: a signal or a tick not taken is taken by the next turn.
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            _ = refresh.tick() => folder.write()?,
        }
    }
    control.stop().await;
    vendor.stop().await;
    Ok(())
}
