import jakarta.servlet.*;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Path;
import java.security.cert.X509Certificate;

/** The request's part, in Tomcat, Spring Boot and wherever servlets are; without it, whoever shows nothing gets in. */
public final class TrustsyncServletFilter implements Filter {
    private final TrustsyncPins pins = new TrustsyncPins(TrustsyncTrustManager.link());

    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        HttpServletResponse answer = (HttpServletResponse) response;
        try {
            answer.setHeader("X-Trustsync-Generation", pins.generation());
        } catch (Exception unreadable) { } // then nobody is admitted either
        X509Certificate[] shown = (X509Certificate[]) request.getAttribute("jakarta.servlet.request.X509Certificate");
        if (shown != null && shown.length > 0 && pins.admits(shown[0])) {
            chain.doFilter(request, response);
        } else {
            answer.sendError(403);
        }
    }
}
