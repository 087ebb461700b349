# Adds up what test runners say, as "passed failed".
# cargo: "test result: ok. 12 passed; 0 failed; ..." — pytest: "12 passed, 1 failed in 0.3s" in either order.
/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } next }
/^[=]*[ ]*[0-9]+ (passed|failed|error).* in [0-9.]+s/ {
  for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^(failed|error)/) f += $(i-1) } }
END { printf "%d %d\n", p, f }
