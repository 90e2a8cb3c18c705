//! A real Apache httpd in the foreground, on loopback, with everything of it in one folder; stopped when dropped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::foreground::{self, Foreground, answers, wait_until};
use crate::port;

/// See the head of this file.
pub struct Apache {
    dir: PathBuf,
    port: u16,
    master: Foreground,
}

impl Apache {
    /// Starts Apache in `dir` (made if need be) with these lines in its one virtual host, in which `@PORT@` stands for a
    /// free port and `@DIR@` for `dir`. A server certificate lies in `@DIR@/server.pem`, its key in `@DIR@/server.key`.
    /// Returns once the port answers.
    pub fn start(dir: &Path, virtual_host: &str) -> Self {
        fs::create_dir_all(dir.join("www")).unwrap();
        fs::create_dir_all(dir.join("run")).unwrap();
        let dir = dir.canonicalize().unwrap();
        // Its children are of a user of their own where its master is root.
        for folder in [&dir, &dir.join("www"), &dir.join("run")] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(dir.join("www/index.html"), "in\n").unwrap();
        foreground::own_certificate(&dir, "localhost");
        let port = port::free_port();
        write_configuration(&dir, port, virtual_host);
        let master = launch(&dir, port);
        Self { dir, port, master }
    }

    /// Ends it, whole.
    pub fn stop(&mut self) {
        self.master.stop();
    }

    /// Starts it again after [`Apache::stop`], at the same port.
    pub fn start_again(&mut self) {
        self.master = launch(&self.dir, self.port);
    }

    /// Writes the configuration anew, for the next check or reload.
    pub fn rewrite(&self, virtual_host: &str) {
        write_configuration(&self.dir, self.port, virtual_host);
    }

    /// The whole configuration with a change.
    pub fn edit(&self, change: impl Fn(String) -> String) {
        let file = self.dir.join("httpd.conf");
        let (before, after) = (fs::read_to_string(&file).unwrap(), change(fs::read_to_string(&file).unwrap()));
        assert_ne!(before, after);
        fs::write(file, after).unwrap();
    }

    /// Reloads as an operator would: `apache2 -k graceful`. Returns once it serves by the new configuration.
    pub fn reload(&self) {
        self.await_restart(|| {
            let reload = Command::new("apache2")
                .args(["-d", self.dir.to_str().unwrap(), "-f", "httpd.conf", "-k", "graceful"])
                .output()
                .unwrap();
            assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        });
    }

    /// Does what makes it restart gracefully, and waits until it has.
    pub fn await_restart(&self, ask: impl FnOnce()) {
        let resumed = self.resumed();
        ask();
        wait_until("it serves by the new configuration", || self.resumed() > resumed);
    }

    fn resumed(&self) -> usize {
        self.log().matches("resuming normal operations").count()
    }

    /// What belongs into `check =`.
    pub fn check_command(&self) -> Vec<String> {
        ["apache2", "-d", self.dir.to_str().unwrap(), "-f", "httpd.conf"].map(String::from).to_vec()
    }

    /// The master's pidfile.
    pub fn pidfile(&self) -> PathBuf {
        self.dir.join("run/httpd.pid")
    }

    /// `127.0.0.1:` and its port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether its master has ended.
    pub fn has_ended(&mut self) -> bool {
        self.master.has_ended()
    }

    /// What it wrote to its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    /// How often it was asked to reload.
    pub fn reload_requests(&self) -> usize {
        self.log().matches("SIGUSR1 received").count()
    }
}

fn launch(dir: &Path, port: u16) -> Foreground {
    let mut command = Command::new("apache2");
    command.args(["-d", dir.to_str().unwrap(), "-f", "httpd.conf", "-D", "FOREGROUND"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = Foreground::spawn(&mut command, "Apache is needed for this test: apt-get install apache2");
    let pid = master.pid().to_string();
    let writes = || fs::read_to_string(dir.join("run/httpd.pid")).is_ok_and(|written| written.trim() == pid);
    let log = || fs::read_to_string(dir.join("error.log")).unwrap_or_default();
    master.wait_until(|| answers(port) && writes(), log);
    master
}

fn write_configuration(dir: &Path, port: u16, virtual_host: &str) {
    let virtual_host = virtual_host.replace("@PORT@", &port.to_string()).replace("@DIR@", dir.to_str().unwrap());
    let modules: String = ["mpm_event", "ssl", "socache_shmcb", "headers", "authz_core", "authz_host", "dir"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    // What only a root master can become.
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data" } else { "" };
    let configuration = format!(
        "ServerRoot {dir}
{modules}{user}
ServerName localhost
DefaultRuntimeDir {dir}/run
PidFile {dir}/run/httpd.pid
ErrorLog {dir}/error.log
LogLevel notice
StartServers 2
ServerLimit 4
ThreadsPerChild 32
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
SSLSessionCache shmcb:{dir}/run/sessions(512000)
Listen 127.0.0.1:{port}
DocumentRoot {dir}/www
DirectoryIndex index.html
<VirtualHost 127.0.0.1:{port}>
ServerName api.example.com
SSLEngine on
SSLCertificateFile {dir}/server.pem
SSLCertificateKeyFile {dir}/server.key
{virtual_host}
</VirtualHost>
",
        dir = dir.display()
    );
    fs::write(dir.join("httpd.conf"), configuration).unwrap();
}
