"""What runs deciders: mailboxes, the actor loop, the supervisor and the clock."""
