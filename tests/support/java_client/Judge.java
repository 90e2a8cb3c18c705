import java.io.File;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** Says of each leaf whether Java's trust manager accepts it as a client's, by the bundle.pem beside it. */
public class Judge {
    public static void main(String[] leaves) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (String leaf : leaves) {
            KeyStore bundle = KeyStore.getInstance("PKCS12");
            bundle.load(null, null);
            int number = 0;
            try (FileInputStream file = new FileInputStream(new File(new File(leaf).getParentFile(), "bundle.pem"))) {
                for (Certificate authority : factory.generateCertificates(file)) {
                    bundle.setCertificateEntry("authority-" + number++, authority);
                }
            }
            TrustManagerFactory managers = TrustManagerFactory.getInstance("PKIX");
            managers.init(bundle);
            String verdict = "refused";
            try (FileInputStream file = new FileInputStream(leaf)) {
                X509Certificate[] chain = {(X509Certificate) factory.generateCertificate(file)};
                for (TrustManager manager : managers.getTrustManagers()) {
                    ((X509TrustManager) manager).checkClientTrusted(chain, "UNKNOWN");
                    verdict = "accepted";
                }
            } catch (java.security.cert.CertificateException refused) {
                verdict = "refused";
            }
            System.out.println(verdict + " " + leaf);
        }
    }
}
