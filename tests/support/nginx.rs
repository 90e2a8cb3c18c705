//! A real nginx in the foreground, on loopback, with everything of it in one folder; stopped when dropped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::port;

const WORKERS: usize = 2;

/// See the head of this file.
pub struct Nginx {
    dir: PathBuf,
    port: u16,
    master: Child,
}

impl Nginx {
    /// Starts nginx in `dir` (made if need be) with these contents of the `http` block, in which `@PORT@` stands for a
    /// free port and `@DIR@` for `dir`. A server certificate lies in `@DIR@/server.pem`, its key in `@DIR@/server.key`.
    /// Returns once the port answers.
    pub fn start(dir: &Path, http: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.join("server.pem"), server.cert.pem()).unwrap();
        fs::write(dir.join("server.key"), server.signing_key.serialize_pem()).unwrap();
        // Somebody else may take the port between our look and nginx's start: then another one.
        for _ in 0..5 {
            let port = port::free_port();
            write_configuration(&dir, port, http);
            let master = Command::new("nginx")
                .args(["-p", dir.to_str().unwrap(), "-c", "nginx.conf", "-g", "daemon off;"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nginx is needed for this test: apt-get install nginx-light");
            let mut nginx = Self { dir: dir.clone(), port, master };
            if nginx.comes_up() {
                return nginx;
            }
        }
        panic!("nginx did not start: {}", fs::read_to_string(dir.join("error.log")).unwrap_or_default());
    }

    /// Writes the configuration anew, for the next check or reload.
    pub fn rewrite(&self, http: &str) {
        write_configuration(&self.dir, self.port, http);
    }

    /// Reloads as an operator would: `nginx -s reload`, which checks first. Returns once the old workers have ended.
    pub fn reload(&self) {
        let ended = self.workers_ended();
        let reload = Command::new("nginx")
            .args(["-p", self.dir.to_str().unwrap(), "-c", "nginx.conf", "-s", "reload"])
            .output()
            .unwrap();
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.workers_ended() < ended + WORKERS {
            assert!(Instant::now() < deadline, "the old workers did not end: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    fn workers_ended(&self) -> usize {
        self.log().matches(" exited with code 0").count()
    }

    /// What belongs into `check =`.
    pub fn check_command(&self) -> Vec<String> {
        ["nginx", "-p", self.dir.to_str().unwrap(), "-c", "nginx.conf", "-t"].map(String::from).to_vec()
    }

    /// The master's pidfile.
    pub fn pidfile(&self) -> PathBuf {
        self.dir.join("nginx.pid")
    }

    /// The port that `@PORT@` stands for.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:` and that port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it wrote to its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.master.try_wait().unwrap().is_some() {
                return false;
            }
            let answers = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            // The pidfile is written last.
            if answers && fs::read_to_string(self.pidfile()).is_ok_and(|pid| pid.trim() == self.master.id().to_string())
            {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let master = rustix::process::Pid::from_child(&self.master);
        // TERM lets the master end its workers; KILL would orphan them.
        let _ = rustix::process::kill_process(master, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.master.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(5));
        }
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}

fn write_configuration(dir: &Path, port: u16, http: &str) {
    let http = http.replace("@PORT@", &port.to_string()).replace("@DIR@", dir.to_str().unwrap());
    // Workers of a root master may otherwise not enter a test's folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let configuration = format!(
        "{user}
worker_processes {WORKERS};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/tmp-body;
    proxy_temp_path {dir}/tmp-proxy;
    fastcgi_temp_path {dir}/tmp-fastcgi;
    uwsgi_temp_path {dir}/tmp-uwsgi;
    scgi_temp_path {dir}/tmp-scgi;
    ssl_certificate {dir}/server.pem;
    ssl_certificate_key {dir}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
{http}
}}
",
        dir = dir.display()
    );
    fs::write(dir.join("nginx.conf"), configuration).unwrap();
}
