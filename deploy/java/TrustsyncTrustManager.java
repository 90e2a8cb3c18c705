import java.io.InputStream;
import java.net.Socket;
import java.nio.file.*;
import java.security.KeyStore;
import java.security.cert.*;
import java.util.Map;
import javax.net.ssl.*;

/** The handshake's part: the chain of the generation that the target's link names now, and the pins. */
public final class TrustsyncTrustManager extends X509ExtendedTrustManager {
    private final Path link;
    private final String truststore;
    private final TrustsyncPins pins;
    private volatile Map.Entry<Path, X509ExtendedTrustManager> loaded;

    /** With truststore-with-marker.p12, which shows what is loaded, or with truststore.p12, which does not. */
    public TrustsyncTrustManager(Path link, String truststore) {
        this.link = link;
        this.truststore = truststore;
        this.pins = new TrustsyncPins(link);
    }

    /** For Tomcat's trustManagerClassName and the like: set -Dtrustsync.link and -Dtrustsync.truststore. */
    public TrustsyncTrustManager() {
        this(link(), System.getProperty("trustsync.truststore", "truststore-with-marker.p12"));
    }

    static Path link() { return Path.of(System.getProperty("trustsync.link", "/var/lib/trustsync/target/java")); }

    private X509ExtendedTrustManager now() throws CertificateException {
        try {
            Path file = link.toRealPath().resolve(truststore);
            Map.Entry<Path, X509ExtendedTrustManager> now = loaded;
            if (now != null && now.getKey().equals(file)) return now.getValue();
            KeyStore store = KeyStore.getInstance("PKCS12");
            try (InputStream in = Files.newInputStream(file)) { store.load(in, "changeit".toCharArray()); }
            TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
            factory.init(store);
            loaded = Map.entry(file, (X509ExtendedTrustManager) factory.getTrustManagers()[0]);
            return loaded.getValue();
        } catch (Exception unreadable) { throw new CertificateException("the truststore cannot be read, and no client is trusted", unreadable); }
    }

    private void pinned(X509Certificate[] chain) throws CertificateException {
        if (!pins.admits(chain[0])) throw new CertificateException("not on trustsync's list");
    }
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) throws CertificateException {
        now().checkClientTrusted(chain, type, engine);
        pinned(chain);
    }
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) throws CertificateException {
        now().checkClientTrusted(chain, type, socket);
        pinned(chain);
    }
    public void checkClientTrusted(X509Certificate[] chain, String type) throws CertificateException {
        now().checkClientTrusted(chain, type);
        pinned(chain);
    }
    /** The authorities that the server advertises; by the marker among them trustsync sees what is loaded. */
    public X509Certificate[] getAcceptedIssuers() {
        try {
            return now().getAcceptedIssuers();
        } catch (CertificateException unreadable) { return new X509Certificate[0]; }
    }
    public void checkServerTrusted(X509Certificate[] c, String t, SSLEngine e) throws CertificateException { refuse(); }
    public void checkServerTrusted(X509Certificate[] c, String type, Socket s) throws CertificateException { refuse(); }
    public void checkServerTrusted(X509Certificate[] c, String type) throws CertificateException { refuse(); }
    private void refuse() throws CertificateException { throw new CertificateException("for clients' certificates"); }
}
