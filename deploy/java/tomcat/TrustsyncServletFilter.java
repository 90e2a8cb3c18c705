import jakarta.servlet.*;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Path;
import java.security.cert.X509Certificate;

/** The request's part, for Tomcat, Spring Boot and other servlets; without it, clients without a certificate get in. */
public final class TrustsyncServletFilter implements Filter {
    private final TrustsyncPins pins = new TrustsyncPins(TrustsyncTrustManager.link());

    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        HttpServletResponse answer = (HttpServletResponse) response;
        try {
            answer.setHeader("X-Trustsync-Generation", pins.generation());
        } catch (Exception unreadable) { } // then no client is admitted either
        X509Certificate[] shown = (X509Certificate[]) request.getAttribute("jakarta.servlet.request.X509Certificate");
        if (shown != null && shown.length > 0 && pins.admits(shown[0])) {
            chain.doFilter(request, response);
        } else {
            answer.sendError(403);
        }
    }
}
