# Kubernetes' own tests of the CRI on a Debian with systemd. Each CHECK line is judged by run.sh.
mkdir -p /mnt/more
mount -o ro /dev/nvme1n1 /mnt/more
export PATH=$PATH:/mnt/more
sysctl -qw net.ipv4.ip_forward=1
/mnt/more/registry.sh /mnt/more/registry /run/registry 5000 2>/run/registry.log &
while [ ! -s /run/registry ]; do
    kill -0 $! || { cat /run/registry.log; exit 1; }
    sleep 0.2
done
socket=unix:///run/isulad/isulad.sock
crictl runtime-config | grep -qi systemd || { echo "CHECK failed the driver is not systemd"; exit 1; }
cd /root || exit 1
critest -runtime-endpoint "$socket" -image-endpoint "$socket" -ginkgo.no-color -ginkgo.v "-ginkgo.focus=$(cat focus)" >critest.log 2>&1
status=$?
sed -nE 's/^ *\[FAIL\] /CHECK failed /p' critest.log | sort -u
sed -nE 's/^(SUCCESS|FAIL)! -- .*/&/p; s/^Ran .* Specs in .*/&/p' critest.log
if [ $status = 0 ] && grep -q '^SUCCESS! -- ' critest.log; then
    sed -nE 's/^SUCCESS! -- ([0-9]+ Passed \| [0-9]+ Failed).*/CHECK ok critest: \1/p' critest.log
else
    echo "CHECK failed critest ended with $status"
    tail -n 200 critest.log
    journalctl -u isulad --no-pager -n 50
fi
left=$(systemctl list-units --all --no-legend --plain 'isulad-*' | cut -d ' ' -f 1)
if [ -z "$left" ]; then echo "CHECK ok nothing is left"; else echo "CHECK failed units are left: $left"; fi
kill %1
