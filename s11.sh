. /work/breaker/h.sh
N=3; TO=20; A="--data $T --threads 1 --model $TINY"
date
echo "## fsize with folder model"; for k in 100 250 400; do for tr in lora full; do rm -rf $W/u; echo "[ulimit -f $k $tr]"; (ulimit -f $k; r $F $A --train $tr --steps 6 --save-every 2 --out $W/u); find $W/u | sort | tr '\n' ' '; echo; done; done
echo "## fsize with SIGXFSZ ignored"; for k in 100 250 400; do rm -rf $W/u; (trap '' XFSZ; ulimit -f $k; r $F $A --steps 6 --save-every 2 --out $W/u); find $W/u | sort | tr '\n' ' '; echo; r $F --resume --threads 1 --out $W/u; done
(trap '' XFSZ; ulimit -f 500; r $E/merge --model $TINY --adapter $W/o1/adapter --out $W/mu2); ls -a $W | grep mu
echo "## tmpfs"; mkdir -p $W/tm && mount -t tmpfs -o size=1200k tmpfs $W/tm && { r $F $A --steps 8 --save-every 2 --out $W/tm/o; find $W/tm | sort; r $F --resume --threads 1 --out $W/tm/o; umount $W/tm; mount -t tmpfs -o size=3000k tmpfs $W/tm; r $F $A --train full --steps 4 --out $W/tm/o;  find $W/tm | sort; umount $W/tm; mount -t tmpfs -o size=600k tmpfs $W/tm; r $E/merge --model $TINY --adapter $W/o1/adapter --out $W/tm/m; find $W/tm; umount $W/tm; }
echo "## INT in check"; $F --data $W/big.jsonl --check >$W/.o 2>$W/si.e & p=$!; sleep 3; kill -INT $p; s=$(date +%s%N); (sleep 15; kill -9 $p) & k=$!; wait $p; echo "rc=$? $((($(date +%s%N)-s)/1000000))ms"; kill $k; cat $W/si.e $W/.o | tail -3
rm -rf $W/bigo; $F --data $W/big.jsonl --threads 1 --steps 2 --out $W/bigo >$W/.o 2>$W/si.e & p=$!; sleep 3; kill -INT $p; s=$(date +%s%N); (sleep 15; kill -9 $p) & k=$!; wait $p; echo "rc=$? $((($(date +%s%N)-s)/1000000))ms"; kill $k; cat $W/si.e | tail -3; ls -a $W/bigo
head -5000 $W/big.jsonl >$W/big5.jsonl; time (TO=60 r $F --data $W/big5.jsonl --check)
date
