import java.io.InputStream;
import java.math.BigInteger;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.util.*;

/** The leaves that trustsync admits, by the generation that the target's link names now. Ask at every request, not only
 *  in the handshake: connections are kept, and sessions resumed. */
public final class TrustsyncPins {
    private final Path link; // such as /var/lib/trustsync/target/java
    private volatile Generation loaded;
    public TrustsyncPins(Path link) { this.link = link; }

    private static final class Generation {
        final Path folder;
        final Map<String, X509Certificate> authorities = new HashMap<>();
        final Set<String> listed = new HashSet<>(); // "sha256:HEX" a pin, "sha256=HEX" denied, "root=HEX NAME" a name
        String number;
        Generation(Path folder) throws Exception {
            this.folder = folder;
            try (InputStream in = Files.newInputStream(folder.resolve("trust-bundle.pem"))) {
                for (Object each : CertificateFactory.getInstance("X.509").generateCertificates(in))
                    authorities.put("root=" + sha256((X509Certificate) each), (X509Certificate) each);
            }
            for (String line : Files.readAllLines(folder.resolve("fingerprints.txt"))) {
                String[] words = line.split(" ");
                if (line.startsWith("# trustsync generation ")) number = words[3];
                else if (line.startsWith("name ")) listed.add(words[1] + " " + words[2].toLowerCase(Locale.ROOT));
                else if (!line.startsWith("#")) listed.add(words[1]);
            }
        }
    }
    private Generation now() throws Exception {
        Path folder = link.toRealPath(); // each generation has its own folder, which never changes
        Generation now = loaded;
        return now != null && now.folder.equals(folder) ? now : (loaded = new Generation(folder));
    }
    /** The generation that decides. An answer with it in X-Trustsync-Generation proves what is loaded. */
    public String generation() throws Exception { return now().number; }

    /** Whether the leaf is admitted; none is where the files cannot be read. */
    public boolean admits(X509Certificate leaf) {
        try {
            Generation now = now();
            leaf.checkValidity();
            if (now.listed.contains("sha256:" + sha256(leaf))) return true;
            if (now.listed.contains("sha256=" + sha256(leaf))) return false;
            return TrustsyncNames.admit(leaf, now.authorities, now.listed);
        } catch (Exception unreadable) { return false; }
    }

    static String sha256(X509Certificate certificate) throws GeneralSecurityException {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded());
        return String.format("%064x", new BigInteger(1, digest));
    }
}
