"""Every format and every protocol: whether chunk borders can be heard, and what encoding costs."""
