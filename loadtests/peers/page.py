def write(): return ""
