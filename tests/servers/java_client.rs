//! The tests' two kinds of client differ in what they are for: openssl presents its certificate to everybody, Java only
//! to a server that asks for one of its issuers.

use std::fs;
use std::sync::Arc;

use support::cast;
use support::java;
use support::nginx::Nginx;
use trustsync::clock::SystemClock;
use trustsync::simulator::world::{VendorOptions, World};
use trustsync::trust::formats::pem;

#[test]
fn java_keeps_silent_where_openssl_presents_a_certificate_that_nobody_asked_for() {
    let world = World::new(VendorOptions::new(Arc::new(SystemClock))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let asking_for = |name: &str, der: &[u8]| {
        let file = dir.path().join(name);
        fs::write(&file, pem::encode("CERTIFICATE", der)).unwrap();
        // 201: nothing was presented; 202: something, which did not verify.
        let http = format!(
            "map $ssl_client_verify $said {{ default 202; NONE 201; SUCCESS 200; }}
             server {{ listen 127.0.0.1:@PORT@ ssl; ssl_client_certificate {}; ssl_verify_client optional_no_ca;
                 ssl_verify_depth 3;
                 if ($said = 201) {{ return 201; }} if ($said = 202) {{ return 202; }} return 200; }}",
            file.display()
        );
        Nginx::start(&dir.path().join(format!("server-{name}")), &http)
    };
    let current = world.current().unwrap();
    let own = asking_for("own", world.pki().digicert_root.der());
    let other = asking_for("other", world.pki().other_root.der());
    let knocking = [("current", Some(&current)), ("nobody", None)];
    assert_eq!(cast::knock(&own.address(), Some(&current)), "200");
    assert_eq!(cast::knock(&other.address(), Some(&current)), "202");
    java::assert_cast_by_java(&own.address(), &[("current", Some(&current), "200"), ("nobody", None, "201")]);
    java::assert_cast_by_java(&other.address(), &[("current", Some(&current), "201"), ("nobody", None, "201")]);
    let nowhere = format!("127.0.0.1:{}", support::port::free_port());
    assert_eq!(java::knock_by_java(&nowhere, &knocking)[0], ("current", "nothing".to_owned()));
}
