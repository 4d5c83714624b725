//! Step 11: at the same time, on the same account and from the same address, nobody else is blocked.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    mail_client::MailClient,
    mail_rig::DOMAIN,
    process::{Background, run, signal},
    programs::{NEW, OLD},
    story::{
        Stage,
        narrator::Narrator,
        play::{SOON, STRAY, World},
    },
};

/// What a client with a session of its own does; see the script.
const SESSION: &str = include_str!("../outdated_session.py");

impl World {
    /// A session of an outdated connector that does not close by itself, and that lockstep-server has never heard of.
    pub(in crate::story) fn stubborn_session(&self, stage: &Stage) -> Result<Background> {
        let log = stage.path("stubborn.log");
        let mut session =
            Background::start("a stubborn session", &mut self.session(&format!("{STRAY}@{DOMAIN}"), OLD), &log)?;
        session.wait_for("idling", SOON)?;
        Ok(session)
    }

    /// bob goes on with any other mail program and with the WebMail, while his connector is refused.
    pub(in crate::story) fn nobody_else_is_blocked(
        &mut self,
        mut stubborn: Background,
        narrator: Narrator,
    ) -> Result<()> {
        narrator.step("11", "Nobody else is blocked");
        stubborn.wait_for("ended", SOON).context("the outdated connector's open session was not ended")?;
        narrator.say("grace's old connector, of which the site knew nothing, was put out of the session it had open.");
        let bobs = self.refuses.user.clone();
        for _ in 0..3 {
            let refused = run(self.session(&bobs, OLD).arg("once"))?;
            let said = String::from_utf8_lossy(&refused.stdout).into_owned();
            ensure!(said.contains("refused") && said.contains(self.site.webmail()), "connector {OLD}: {said}");
        }
        let current = run(self.session(&bobs, NEW).arg("once"))?;
        ensure!(current.status.success(), "connector {NEW} is let in: {}", String::from_utf8_lossy(&current.stdout));

        let bob = MailClient::direct(&self.site.mail, &self.refuses.user);
        let seconds = login_seconds(&bob)?;
        ensure!(seconds < 1.0, "another mail program waits {seconds:.2} s for its login");
        narrator.say(&format!(
            "Dovecot asks lockstep-server at each login and refuses connector {OLD}, with the reason; right after that \
             another mail program logs in from the same address in {seconds:.2} s."
        ));
        let (from, to) = (self.refuses.user.clone(), self.ready.user.clone());
        let to_alice = self.ledger.send(&bob, &from, &to)?;
        self.ready.mail_program()?.wait_for("INBOX", &to_alice, SOON)?;
        let to_bob = self.ledger.send(self.ready.mail_program()?, &to, &from)?;
        bob.wait_for("INBOX", &to_bob, SOON)?;
        self.webmail_goes_on(narrator)?;

        let usual = login_seconds(&bob)?;
        let server = self.site.server_id().context("lockstep-server does not run")?;
        signal(server, "STOP");
        let hung = login_seconds(&bob);
        signal(server, "CONT");
        let hung = hung?;
        ensure!(hung < usual + 2.5, "with lockstep-server hung, a login takes {hung:.2} s instead of {usual:.2} s");
        self.site.power_off();
        let down = login_seconds(&bob)?;
        self.site.power_on()?;
        ensure!(down < usual + 2.5, "with lockstep-server down, a login takes {down:.2} s instead of {usual:.2} s");
        narrator.say(&format!(
            "With lockstep-server hung a login takes {hung:.2} s, and {down:.2} s with it down, instead of {usual:.2} s."
        ));
        Ok(())
    }

    /// bob reads and sends in the WebMail, in a real browser.
    fn webmail_goes_on(&mut self, narrator: Narrator) -> Result<()> {
        let webmail = self.webmail.as_ref().context("this story has no WebMail")?;
        let (bob, alice) = (self.refuses.user.clone(), self.ready.user.clone());
        let visit = webmail.log_in(&bob, self.site.mail.password(&bob))?;
        let subject = self.ledger.subjects_to(&bob).pop().context("nobody has written to bob")?;
        visit.read("INBOX", &subject, SOON)?;
        let answer = self.ledger.note(&bob, &alice);
        visit.send(&alice, &answer, "Written in the WebMail.")?;
        self.ready.mail_program()?.wait_for("INBOX", &answer, SOON)?;
        narrator.say("In the WebMail (Roundcube, in Chromium) bob reads his mail and writes to alice.");
        Ok(())
    }

    fn session(&self, user: &str, version: &str) -> Command {
        let mail = &self.site.mail;
        let mut python = Command::new("python3");
        python.args(["-c", SESSION, &mail.imaps.to_string(), user, mail.password(user), version]);
        python
    }
}

fn login_seconds(client: &MailClient) -> Result<f64> {
    let start = Instant::now();
    ensure!(client.can_log_in(), "another mail program cannot log in");
    Ok(start.elapsed().max(Duration::from_millis(1)).as_secs_f64())
}
