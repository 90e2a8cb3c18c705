import jakarta.servlet.http.*;
import java.io.IOException;
import java.nio.file.*;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.*;
import org.apache.tomcat.util.net.*;

/** A Tomcat wired to trustsync: java -Dtrustsync.link=LINK TomcatServer PORT SERVER.p12 PASSWORD */
public class TomcatServer {
    public static void main(String[] arguments) throws Exception {
        SSLHostConfig tls = new SSLHostConfig();
        // In server.xml: <SSLHostConfig certificateVerification="optional"
        // trustManagerClassName="TrustsyncTrustManager">. Optional, so that the filter answers clients without a
        // certificate too, and shows the loaded generation there.
        tls.setCertificateVerification("optional");
        tls.setTrustManagerClassName("TrustsyncTrustManager");
        SSLHostConfigCertificate own = new SSLHostConfigCertificate(tls, SSLHostConfigCertificate.Type.UNDEFINED);
        own.setCertificateKeystoreFile(Path.of(arguments[1]).toAbsolutePath().toString());
        own.setCertificateKeystorePassword(arguments[2]);
        tls.addCertificate(own);
        Connector connector = new Connector();
        connector.setProperty("address", "127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        connector.setScheme("https");
        connector.setSecure(true);
        connector.setProperty("SSLEnabled", "true");
        connector.addSslHostConfig(tls);

        Path base = Files.createTempDirectory(Path.of("."), "tomcat");
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.setConnector(connector);
        Context all = tomcat.addContext("", base.toAbsolutePath().toString());
        FilterDef filter = new FilterDef();
        filter.setFilterName("trustsync");
        filter.setFilterClass("TrustsyncServletFilter");
        all.addFilterDef(filter);
        FilterMap everywhere = new FilterMap();
        everywhere.setFilterName("trustsync");
        everywhere.addURLPattern("/*");
        all.addFilterMap(everywhere);
        Tomcat.addServlet(all, "in", new HttpServlet() {
            @Override protected void doGet(HttpServletRequest asked, HttpServletResponse response) throws IOException {
                response.getWriter().println("in");
            }
        });
        all.addServletMappingDecoded("/*", "in");
        tomcat.start();
        tomcat.getServer().await();
    }
}
