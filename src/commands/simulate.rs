//! `trustsync simulate`: the vendor's API on this machine, for tests and drills, until interrupted.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::SignalKind;

use super::Failure;
use crate::cli::Simulate;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::simulator::control::{Control, OffsetClock};
use crate::simulator::failure::Endpoint;
use crate::simulator::folder::Folder;
use crate::simulator::vendor::Vendor;
use crate::simulator::world::VendorOptions;

/// How often the files follow what the clock alone changed.
const REFRESH: Duration = Duration::from_secs(60);

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: Simulate) -> Result<Exit, Failure> {
    let stuck = |error: io::Error| Failure::Other(format!("the simulator cannot go on: {error}"));
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
    let mut signals = Signals::listen([((), SignalKind::interrupt()), ((), SignalKind::terminate())]).map_err(stuck)?;
    let vendor = Vendor::start(options).await.map_err(Failure::other)?;
    for failure in args.fail {
        vendor.world().fail(failure, Endpoint::Listing, None);
    }
    let folder = Folder::create(&args.folder, &vendor).map_err(Failure::other)?;
    let control = Control::start(args.control, &vendor, clock, folder.clone()).await.map_err(Failure::other)?;
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
    output.write_all(announced.as_bytes()).and_then(|()| output.flush()).map_err(stuck)?;
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            // Both arms are cancel-safe: a signal or a tick not taken is taken by the next turn.
            () = signals.next() => break,
            _ = refresh.tick() => folder.write().map_err(Failure::other)?,
        }
    }
    control.stop().await;
    vendor.stop().await;
    Ok(Exit::Done)
}
