import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

/**
 * Knocks at a server the way Java does: its key manager presents a certificate only where the server's list of
 * acceptable authorities names one of its issuers. One knock a line of standard input: version of TLS, host, port, key
 * (PKCS#8) and chain (leaf first, commas between), in base64; "-" and "-" for nobody. One line of output each: the
 * status, or "nothing".
 */
public class Client {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split(" ");
            System.out.println(knock(words[0], words[1], Integer.parseInt(words[2]), context(words[3], words[4])));
        }
    }

    /** A context of its own for each knock, so that no session is resumed. */
    static SSLContext context(String key, String chain) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        if (!key.equals("-")) {
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            Base64.Decoder base64 = Base64.getDecoder();
            List<java.security.cert.Certificate> certificates = new ArrayList<>();
            for (String der : chain.split(",")) {
                certificates.add(factory.generateCertificate(new ByteArrayInputStream(base64.decode(der))));
            }
            String algorithm = certificates.get(0).getPublicKey().getAlgorithm();
            PrivateKey secret = KeyFactory.getInstance(algorithm)
                .generatePrivate(new PKCS8EncodedKeySpec(base64.decode(key)));
            java.security.cert.Certificate[] path = certificates.toArray(new java.security.cert.Certificate[0]);
            store.setKeyEntry("client", secret, new char[0], path);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), new TrustManager[] {new AnyServer()}, null);
        return context;
    }

    static String knock(String version, String host, int port, SSLContext context) {
        try (Socket plain = new Socket(host, port)) {
            plain.setSoTimeout(10_000);
            SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, host, port, true);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setProtocols(new String[] {version});
            parameters.setServerNames(List.of(new SNIHostName("api.example.com")));
            socket.setSSLParameters(parameters);
            String request = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            InputStreamReader answer = new InputStreamReader(socket.getInputStream(), StandardCharsets.ISO_8859_1);
            String status = new BufferedReader(answer).readLine();
            return status == null || !status.startsWith("HTTP/") ? "nothing" : status.split(" ")[1];
        } catch (IOException refused) {
            return "nothing";
        }
    }

    /** The test is about the client's certificate. */
    static class AnyServer extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}
        public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}
        public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}
        public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}
        public void checkClientTrusted(X509Certificate[] chain, String type) {}
        public void checkServerTrusted(X509Certificate[] chain, String type) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }
}
