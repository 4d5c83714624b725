//! What goes into Dovecot's configuration (2.3; its documentation of the authentication policy protocol, and measurements).

use std::net::SocketAddr;

use super::Gate;

/// The lines, with comments and how to check them.
pub fn settings_for_dovecot(gate: &Gate, listen: SocketAddr) -> String {
    let Gate { secret, nonce, .. } = gate;
    format!(
        r#"# Lockstep: at each login Dovecot asks lockstep-server whether the client is a Lockstep Connector that is too old for this server.
# Nobody else is ever refused. For Dovecot 2.3; put it into /etc/dovecot/conf.d/99-lockstep.conf, then: doveadm reload

# What a client says of itself (IMAP ID) is kept until it logs in.
imap_id_retain = yes

auth_policy_server_url = http://{listen}/
auth_policy_server_api_header = Authorization: Bearer {secret}
auth_policy_hash_nonce = {nonce}
# No password goes there, not even a hash of one.
auth_policy_request_attributes = login=%{{user}} remote=%{{rip}} port=%{{rport}} device_id=%{{client_id}} protocol=%s
# It is asked once, after a right password, so wrong passwords are none of its business.
auth_policy_check_before_auth = no
auth_policy_check_after_auth = yes
auth_policy_report_after_auth = no
# Without an answer everybody is let in: at once when lockstep-server is down, after this time when it hangs.
auth_policy_reject_on_fail = no
auth_policy_server_timeout_msecs = 1500

# One line more belongs into each of your own "passdb" blocks that checks the passwords of mail users (often in auth-*.conf.ext):
#
#   override_fields = nodelay=y
#
# A refused connector has the right password. Without this line Dovecot takes it for somebody who guesses, and makes every client from the
# same address wait, for up to 15 seconds. Wrong passwords are slowed down as before. If there is an override_fields line, add to it.

# To check it:
#   doveconf auth_policy_server_url imap_id_retain
#   curl -H 'Authorization: Bearer {secret}' -d '{{"device_id":"\"name\" \"lockstep-connector\" \"version\" \"0.0.1\""}}' \
#        'http://{listen}/?command=allow'
#     says "status":-1 and why; with another name, or the version of a connector that works, "status":0.
#   lockstep status
#     shows how often the mail server has asked.
"#
    )
}
