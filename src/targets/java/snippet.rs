//! What a user adds to a Java server, with the target's own link in it.

use std::path::Path;

use crate::targets::snippet::within_quotes;

/// How the classes of `deploy/java/` are put to use; `Server.java` there is a whole server.
#[must_use]
pub fn lines(link: &Path) -> String {
    let link = within_quotes(link);
    format!(
        r#"// With TrustsyncTrustManager, TrustsyncPins and TrustsyncNames, which come with trustsync (deploy/java):
Path link = Path.of("{link}");
context.init(keys, new TrustManager[] {{new TrustsyncTrustManager(link, "truststore-with-marker.p12")}}, null);
tls.setWantClientAuth(true);
// In a filter, before each request (the whole of it: deploy/java/Server.java); without it strangers get in:
response.setHeader("X-Trustsync-Generation", pins.generation());
if (!pins.admits(leaf)) {{ response.sendError(403); return; }}
"#
    )
}
