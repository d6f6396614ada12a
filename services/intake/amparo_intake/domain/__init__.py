"""The decisions of intake, pure: what is clear, which lane, who is limited, what a reporter is told."""
