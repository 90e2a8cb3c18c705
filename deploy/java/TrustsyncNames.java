import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.util.*;
import javax.naming.ldap.*;

/** Admission by issuer and name, for the Genesys root: its leaf is renewed every year without notice. */
final class TrustsyncNames {
    /** Whether an authority signed the leaf directly, and is listed with one of the leaf's names or with any ("*"). */
    static boolean admit(X509Certificate leaf, Map<String, X509Certificate> authorities, Set<String> listed)
            throws Exception {
        for (Map.Entry<String, X509Certificate> authority : authorities.entrySet()) {
            boolean named = listed.contains(authority.getKey() + " *");
            for (String name : namesOf(leaf)) named |= listed.contains(authority.getKey() + " " + name);
            if (named && signed(authority.getValue(), leaf)) return true;
        }
        return false;
    }

    /** Its dNSNames or, without any, its only common name, if no RDN has more than one value; in lower case. */
    private static List<String> namesOf(X509Certificate leaf) throws Exception {
        List<String> names = new ArrayList<>(), common = new ArrayList<>();
        if (leaf.getSubjectAlternativeNames() != null)
            for (List<?> name : leaf.getSubjectAlternativeNames())
                if (name.get(0).equals(2)) names.add(((String) name.get(1)).toLowerCase(Locale.ROOT));
        for (Rdn rdn : new LdapName(leaf.getSubjectX500Principal().getName()).getRdns()) {
            if (rdn.size() > 1) return names;
            if (rdn.getType().equalsIgnoreCase("CN")) common.add(rdn.getValue().toString().toLowerCase(Locale.ROOT));
        }
        return !names.isEmpty() ? names : common.size() == 1 ? common : List.of();
    }

    private static boolean signed(X509Certificate authority, X509Certificate leaf) {
        try {
            leaf.verify(authority.getPublicKey());
            return leaf.getIssuerX500Principal().equals(authority.getSubjectX500Principal());
        } catch (GeneralSecurityException another) { return false; }
    }
}
