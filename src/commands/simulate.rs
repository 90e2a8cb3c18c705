//! `trustsync simulate`: the vendor's API on this machine, for tests and drills, until interrupted.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::SignalKind;

use crate::cli::Simulate;
use crate::signals::Signals;
use crate::simulator::control::{Control, OffsetClock};
use crate::simulator::error::SimulatorError;
use crate::simulator::failure::Endpoint;
use crate::simulator::folder::Folder;
use crate::simulator::vendor::Vendor;
use crate::simulator::world::VendorOptions;

/// How often the files follow what the clock alone changed.
const REFRESH: Duration = Duration::from_secs(60);

/// The simulator could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The API, the control endpoint or the files.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    /// Output or signals.
    #[error("the simulator cannot go on: {0}")]
    Io(#[from] io::Error),
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: Simulate) -> Result<(), SimulateError> {
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
    // Before anything is announced, so that anyone who waits for the announcement may signal at once.
    let mut signals = Signals::listen([((), SignalKind::interrupt()), ((), SignalKind::terminate())])?;
    let vendor = Vendor::start(options).await?;
    for failure in args.fail {
        vendor.world().fail(failure, Endpoint::Listing, None);
    }
    let folder = Folder::create(&args.folder, &vendor)?;
    let control = Control::start(args.control, &vendor, clock, folder.clone()).await?;
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
            // Both arms are cancel-safe: a signal or a tick not taken is taken by the next turn.
            () = signals.next() => break,
            _ = refresh.tick() => folder.write()?,
        }
    }
    control.stop().await;
    vendor.stop().await;
    Ok(())
}
