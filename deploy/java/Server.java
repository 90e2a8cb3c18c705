import com.sun.net.httpserver.*;
import java.io.*;
import java.net.InetSocketAddress;
import java.nio.file.*;
import java.security.*;
import java.security.cert.X509Certificate;
import java.util.concurrent.Executors;
import javax.net.ssl.*;

/** A server of the JDK's own, wired to trustsync: java Server.java PORT SERVER.p12 PASSWORD LINK [TRUSTSTORE] */
public class Server {
    public static void main(String[] arguments) throws Exception {
        Path link = Path.of(arguments[3]);
        String truststore = arguments.length > 4 ? arguments[4] : "truststore-with-marker.p12";
        KeyStore own = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(Path.of(arguments[1]))) { own.load(in, arguments[2].toCharArray()); }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, arguments[2].toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), new TrustManager[] {new TrustsyncTrustManager(link, truststore)}, null);

        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context) {
            @Override public void configure(HttpsParameters parameters) {
                SSLParameters tls = context.getDefaultSSLParameters();
                // Not "need": a client without a certificate gets 403 below, with the loaded generation.
                tls.setWantClientAuth(true);
                parameters.setSSLParameters(tls);
            }
        });
        HttpContext all = server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, 3);
            exchange.getResponseBody().write("in\n".getBytes());
            exchange.close();
        });
        all.getFilters().add(new TrustsyncFilter(link));
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}

/** The request's part: without it, clients without a certificate get in. */
class TrustsyncFilter extends Filter {
    private final TrustsyncPins pins;
    TrustsyncFilter(Path link) { pins = new TrustsyncPins(link); }
    @Override public String description() { return "trustsync"; }

    @Override public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
        boolean admitted = false;
        try {
            exchange.getResponseHeaders().set("X-Trustsync-Generation", pins.generation());
            SSLSession session = ((HttpsExchange) exchange).getSSLSession();
            admitted = pins.admits((X509Certificate) session.getPeerCertificates()[0]);
        } catch (Exception unreadable) { } // then no client is admitted
        if (admitted) {
            chain.doFilter(exchange);
        } else {
            exchange.sendResponseHeaders(403, -1);
            exchange.close();
        }
    }
}
